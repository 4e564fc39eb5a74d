"""Try again what may work next time: bounded, with growing and random waits, and counted."""

import errno
import http.client
import logging
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

logger = logging.getLogger(__name__)
T = TypeVar("T")

_PASSING_STATUSES = {408, 425, 429}
_LASTING_STATUSES = {501, 505, 511}
_PASSING_CODES = {"RequestTimeout", "SlowDown", "InternalError", "Throttling"}
_PASSING_NUMBERS = {
    getattr(errno, "EREMOTEIO", 121),
    errno.EBUSY,
    errno.EIO,
    errno.EPIPE,
    errno.ETIMEDOUT,
    errno.ENETUNREACH,
    errno.ENETDOWN,
    errno.EHOSTUNREACH,
    errno.EAGAIN,
}
# Errors of packages that need not be there, by module and class.
_PASSING_CLASSES = {
    ("aiohttp.client_exceptions", "ClientError"),
    ("botocore.exceptions", "HTTPClientError"),
    ("botocore.exceptions", "IncompleteReadError"),
    ("botocore.exceptions", "FlexibleChecksumError"),
    ("requests.exceptions", "RequestException"),
    ("urllib3.exceptions", "HTTPError"),
}


class StorageError(OSError):
    """A file elsewhere can not be read.

    Arguments
    ---------
    message : str
        Says which, where, how often it was tried and why.
    is_lasting : bool
        True: the file is absent or not what the index says, so another try is of no use.
    """

    def __init__(self, message: str, *, is_lasting: bool = False):
        super().__init__(message)
        self.is_lasting = is_lasting


class ShortAnswerError(OSError):
    """Fewer bytes came than were asked for."""


class DamagedError(ValueError):
    """What came whole is not what the index says."""


@dataclass(frozen=True)
class RetryOptions:
    """Bounds of retrying a request.

    Arguments
    ---------
    max_tries : int
        Tries of a request in all.
    first_wait_s : float
        Longest wait before the second try; it doubles each time. The waits are random.
    max_wait_s : float
        Bound of a wait.
    max_total_s : float
        Time from the first try after which no other is made.
    timeout_s : float
        Time without any answer or data after which a try has failed.

    Raises
    ------
    ValueError
        If a value is out of range.
    """

    max_tries: int = 8
    first_wait_s: float = 0.5
    max_wait_s: float = 30.0
    max_total_s: float = 600.0
    timeout_s: float = 60.0

    def __post_init__(self) -> None:
        faults = []
        if self.max_tries < 1:
            faults.append(f"max_tries is {self.max_tries}; expected >= 1")
        faults += [
            f"{name} is {getattr(self, name)}; expected >= 0"
            for name in ("first_wait_s", "max_wait_s", "max_total_s")
            if getattr(self, name) < 0
        ]
        if self.timeout_s <= 0:
            faults.append(f"timeout_s is {self.timeout_s}; expected > 0")
        if faults:
            raise ValueError("retry: " + "; ".join(faults) + ".")


class Retrier:
    """Makes requests until they succeed, fail for good, or the bounds are reached.

    Arguments
    ---------
    options : RetryOptions
        The bounds.
    on_retry : Callable[[], None]
        Called before each further try, to count it.
    sleep : Callable[[float], Any]
        Waits some seconds.
    clock : Callable[[], float]
        Seconds of a clock that never goes back.
    """

    def __init__(
        self,
        options: RetryOptions,
        *,
        on_retry: Callable[[], None],
        sleep: Callable[[float], Any] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.options = options
        self._on_retry = on_retry
        self._sleep = sleep
        self._clock = clock
        # Random numbers of the system: forked workers do not wait in step, and no global random
        # state moves.
        self._random = random.SystemRandom()

    def call(self, request: Callable[[], T], *, what: str) -> T:
        """Return what a request returns.

        Arguments
        ---------
        request : Callable[[], T]
            Makes one try.
        what : str
            Address and bytes, for the message.

        Returns
        -------
        T
            From the try that succeeded.

        Raises
        ------
        StorageError
            If none did; its cause is the last fault.
        """
        started_s = self._clock()
        for number in range(1, self.options.max_tries + 1):
            try:
                return request()
            except Exception as error:  # reason: packages behind fsspec have errors of their own
                # `may_pass` judges them; all are the cause of a StorageError, or of another try.
                last = error
                if not may_pass(error):
                    raise _failure(what, number, error, is_lasting=True) from error
            wait_s = self._wait_s(number)
            is_late = self._clock() + wait_s - started_s > self.options.max_total_s
            if number == self.options.max_tries or is_late:
                break
            self._on_retry()
            self._sleep(wait_s)
        raise _failure(what, number, last, is_lasting=False) from last

    def _wait_s(self, number: int) -> float:
        longest_s = min(self.options.max_wait_s, self.options.first_wait_s * 2.0 ** (number - 1))
        return longest_s * self._random.uniform(0.5, 1.0)


def twice(fetch: Callable[[], T], *, what: str) -> T:
    """Return what `fetch` returns; if that comes damaged, it is fetched once more.

    Arguments
    ---------
    fetch : Callable[[], T]
        Raises a DamagedError if what came is wrong.
    what : str
        Address, for the message.

    Returns
    -------
    T
        From the first or second time.

    Raises
    ------
    StorageError
        If it came damaged twice.
    """
    try:
        return fetch()
    except DamagedError as error:
        logger.warning("storage %s: %s; fetched once more", what, error)
    try:
        return fetch()
    except DamagedError as error:
        raise StorageError(
            f"storage {what}: {error}, twice; expected it as it was prepared; upload it again.",
            is_lasting=True,
        ) from error


def is_absence(error: StorageError) -> bool:
    """Tell whether the reason of an error is that there is no such file."""
    cause = error.__cause__
    statuses = {_status(fault) for fault in _causes(cause)} - {None}
    return error.is_lasting and isinstance(cause, FileNotFoundError) and statuses <= {404, 410}


def may_pass(error: BaseException) -> bool:
    """Tell whether the same request may succeed later.

    An HTTP status decides, wherever it stands among the causes; else the kinds of the errors.

    Arguments
    ---------
    error : BaseException
        From a file system of fsspec.

    Returns
    -------
    bool
        False for what is absent, forbidden or wrong, and for whatever is not known.
    """
    chain = list(_causes(error))
    status = next((status for status in map(_status, chain) if status), None)
    if status is not None:
        is_server = status >= 500 and status not in _LASTING_STATUSES
        return is_server or status in _PASSING_STATUSES or any(map(_has_passing_code, chain))
    return any(map(_is_passing, chain))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(8):
        if error is None:
            return
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _status(error: BaseException) -> int | None:
    if type(error).__module__ == "aiohttp.http_exceptions":
        return None  # their code is not the server's, such as 400 for a body that ends early
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    for name in ("status", "status_code", "code"):
        value = getattr(error, name, None)
        if isinstance(value, int) and 100 <= value < 600:
            return value
    return None


def _has_passing_code(error: BaseException) -> bool:
    response = getattr(error, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    return code in _PASSING_CODES


def _is_passing(error: BaseException) -> bool:
    kinds = (ConnectionError, TimeoutError, EOFError, http.client.HTTPException)
    if isinstance(error, (*kinds, ShortAnswerError)):
        return True
    if isinstance(error, OSError) and error.errno in _PASSING_NUMBERS:
        return True
    return any((kind.__module__, kind.__name__) in _PASSING_CLASSES for kind in type(error).__mro__)


def _failure(what: str, tries: int, error: Exception, *, is_lasting: bool) -> StorageError:
    remedy = (
        "expected the file as it was prepared; see that it is there, complete and readable"
        if is_lasting
        else "expected an answer; see that the server can be reached, or raise retry.max_tries"
    )
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return StorageError(
        f"storage {what}: failed after {tries} tries, the last: {reason}; {remedy}.",
        is_lasting=is_lasting,
    )
