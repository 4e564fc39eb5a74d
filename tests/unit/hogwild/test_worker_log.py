"""What workers log is logged by the parent, with their numbers."""

import logging
import threading
from types import SimpleNamespace

import pytest

from hogwild.crew import WorkerError
from hogwild.worker_log import WorkerLog, log_again
from tests.unit.hogwild.counting import Task, count


def test_records_of_all_threads_wait_for_the_one_that_sends():
    log, sent, woken = WorkerLog(), [], []
    log.wake = lambda: woken.append(1)
    logger = logging.Logger("some.module")
    logger.addHandler(log)
    thread = threading.Thread(target=logger.warning, args=("skipped %s", ["a"]))
    thread.start()
    thread.join()
    logger.info("not told")
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        logger.exception("read anew")
    assert (sent, len(woken)) == ([], 2)
    log.send(SimpleNamespace(send=sent.append))
    (kind, first), (_, second) = sent
    assert (kind, first) == ("log", (logging.WARNING, "some.module", "skipped ['a']"))
    assert second[2].startswith("read anew\nTraceback")


def test_text_of_a_worker_is_logged_as_it_is(caplog):
    log_again(3, (logging.ERROR, "some.module", "100 %s"))
    assert caplog.record_tuples == [("some.module", logging.ERROR, "worker 3: 100 %s")]


@pytest.mark.multiproc
def test_warnings_of_the_thread_that_reads_batches_reach_the_parent(caplog):
    count(Task(20, fate="warns", pause_s=0.002), epochs=1)
    said = [record.message.split(": ") for record in caplog.records if "is read" in record.message]
    assert {worker for worker, _ in said} == {"worker 0", "worker 1"}
    assert sorted(text for _, text in said) == sorted(f"batch {n} is read" for n in range(20))


@pytest.mark.multiproc
def test_warning_before_an_exception_reaches_the_parent(caplog):
    with pytest.raises(WorkerError, match="worker 1 raised"):
        count(Task(100, fate="raises"))
    assert "worker 1: the last words" in caplog.messages
