"""What is tried again, how often, after which waits, and what is not."""

import errno
import random

import pytest

from data_prepare.retry import (
    DamagedError,
    Retrier,
    RetryOptions,
    ShortAnswerError,
    StorageError,
    is_absence,
    may_pass,
    twice,
)

aiohttp = pytest.importorskip("aiohttp")


class Clock:
    """Time that only waiting makes pass."""

    def __init__(self):
        self.now_s = 0.0
        self.waits_s = []

    def sleep(self, wait_s):
        self.waits_s.append(wait_s)
        self.now_s += wait_s


def make(clock, **options):
    counted = []
    retrier = Retrier(
        RetryOptions(**options),
        on_retry=lambda: counted.append(1),
        sleep=clock.sleep,
        clock=lambda: clock.now_s,
    )
    return retrier, counted


def failing(*faults):
    faults = list(faults)

    def request():
        if faults:
            raise faults.pop(0)
        return "bytes"

    return request


class AnswerError(Exception):
    def __init__(self, status):
        super().__init__(f"answer {status}")
        self.status = status


class BotoError(Exception):
    def __init__(self, status, code):
        super().__init__(code)
        self.response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}


def test_call_passing_faults_then_success_counted():
    clock = Clock()
    retrier, counted = make(clock)
    faults = [ConnectionResetError(), TimeoutError(), ShortAnswerError("3 of 5"), AnswerError(503)]
    assert retrier.call(failing(*faults), what="s3://b/x") == "bytes"
    assert len(counted) == len(clock.waits_s) == 4


def test_call_waits_grow_to_their_bound():
    clock = Clock()
    retrier, _ = make(clock, max_tries=7, first_wait_s=1.0, max_wait_s=8.0)
    with pytest.raises(StorageError):
        retrier.call(failing(*[TimeoutError()] * 9), what="x")
    for wait_s, longest_s in zip(clock.waits_s, [1, 2, 4, 8, 8, 8], strict=True):
        assert longest_s / 2 <= wait_s <= longest_s


def test_call_too_many_faults_error_names_all():
    retrier, counted = make(Clock(), max_tries=3)
    last = OSError(errno.EIO, "disk on fire")
    with pytest.raises(StorageError, match="b/x, bytes 0 to 5: failed after 3 tries") as caught:
        retrier.call(failing(*[TimeoutError()] * 2, last), what="s3://b/x, bytes 0 to 5")
    assert "disk on fire" in str(caught.value)
    assert caught.value.__cause__ is last
    assert not caught.value.is_lasting
    assert len(counted) == 2


def test_call_too_long_stops_before_the_wait():
    clock = Clock()
    retrier, _ = make(clock, max_tries=100, first_wait_s=1.0, max_total_s=5.0)
    with pytest.raises(StorageError):
        retrier.call(failing(*[TimeoutError()] * 100), what="x")
    assert clock.now_s <= 5.0


@pytest.mark.parametrize(
    "fault",
    [FileNotFoundError("x"), PermissionError("x"), AnswerError(404), AnswerError(403), KeyError()],
)
def test_call_lasting_fault_is_tried_once(fault):
    clock = Clock()
    retrier, counted = make(clock)
    with pytest.raises(StorageError, match="after 1 tries") as caught:
        retrier.call(failing(fault), what="x")
    assert caught.value.is_lasting
    assert not counted


def test_call_interrupt_passes():
    retrier, _ = make(Clock())
    with pytest.raises(KeyboardInterrupt):
        retrier.call(failing(KeyboardInterrupt()), what="x")


def test_call_no_global_random_number_drawn():
    state = random.getstate()
    make(Clock())[0].call(failing(TimeoutError()), what="x")
    assert random.getstate() == state


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (AnswerError(429), True),
        (AnswerError(500), True),
        (AnswerError(501), False),
        (AnswerError(416), False),
        (BotoError(503, "SlowDown"), True),
        (BotoError(400, "RequestTimeout"), True),
        (BotoError(400, "ExpiredToken"), False),
        (BotoError(404, "NoSuchKey"), False),
        (TimeoutError(), True),
        (ConnectionRefusedError(), True),
        (aiohttp.ClientPayloadError("cut"), True),
        (aiohttp.ServerDisconnectedError(), True),
        (aiohttp.InvalidURL("http:///"), True),
        (OSError(errno.ENOSPC, "full"), False),
        (ValueError(), False),
    ],
)
def test_may_pass(error, expected):
    assert may_pass(error) is expected


def test_may_pass_status_of_the_cause_decides():
    """fsspec says "not found" for whatever goes wrong when it asks for a size."""
    error = FileNotFoundError("http://host/x")
    error.__cause__ = AnswerError(503)
    assert may_pass(error)
    error.__cause__ = AnswerError(404)
    assert not may_pass(error)


def test_may_pass_body_that_ends_early_has_no_status():
    error = aiohttp.ClientPayloadError("not completed")
    error.__cause__ = aiohttp.http_exceptions.ContentLengthError("cut")
    assert error.__cause__.code == 400
    assert may_pass(error)


def test_is_absence_only_of_what_is_not_there():
    errors = []
    for status in (None, 404, 403):
        absent = FileNotFoundError("x")
        absent.__cause__ = AnswerError(status) if status else None
        error = StorageError("x", is_lasting=True)
        error.__cause__ = absent
        errors.append(error)
    assert [is_absence(error) for error in errors] == [True, True, False]


def test_twice_damaged_once_is_fetched_again():
    assert twice(failing(DamagedError("flipped")), what="x") == "bytes"


def test_twice_damaged_twice_error_is_lasting():
    with pytest.raises(StorageError, match="http://h/x: flipped, twice") as caught:
        twice(failing(*[DamagedError("flipped")] * 2), what="http://h/x")
    assert caught.value.is_lasting


@pytest.mark.parametrize(
    "options", [{"max_tries": 0}, {"first_wait_s": -1.0}, {"timeout_s": 0.0}, {"max_total_s": -1.0}]
)
def test_options_out_of_range_error(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        RetryOptions(**options)
