import os
import signal
import subprocess
import sys
import time

import pytest

from data_prepare.pool import SerialExecutor, WorkerDiedError, ordered_map, worker_pool
from tests.unit.data_prepare.stuck import is_alive


def double(number):
    return 2 * number


def die(_):
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(path):
    if not path.exists():
        path.touch()
        die(path)
    return path


def sleep_long(path):
    path.touch()
    time.sleep(600)


def wait_for(path):
    while not path.exists():
        time.sleep(0.01)


def is_loaded(name):
    return name in sys.modules


def test_ordered_map_reads_no_further_than_ahead():
    taken = []

    def items():
        for number in range(10):
            taken.append(number)
            yield number

    results = ordered_map(SerialExecutor(), double, items(), ahead=2)
    assert next(results) == 0
    assert taken == [0, 1, 2]
    assert list(results) == [2 * number for number in range(1, 10)]


@pytest.mark.multiproc
def test_worker_pool_keeps_order_and_leaves_main_module_out():
    main = sys.modules["__main__"]
    with worker_pool(2) as pool:
        assert list(ordered_map(pool, double, range(8), ahead=3)) == list(range(0, 16, 2))
        loaded = list(ordered_map(pool, is_loaded, ["torch", "speechbrain", "matplotlib"], ahead=3))
    assert loaded == [False, False, False]
    assert sys.modules["__main__"] is main


@pytest.mark.multiproc
def test_worker_pool_killed_worker_is_replaced_and_its_call_made_again(tmp_path):
    with worker_pool(2) as pool:
        paths = [tmp_path / str(number) for number in range(4)]
        assert list(ordered_map(pool, die_once, paths, ahead=3)) == paths
        assert pool.num_deaths == 4


@pytest.mark.multiproc
def test_worker_pool_call_that_kills_each_worker_is_named_and_others_go_on(tmp_path):
    with worker_pool(2) as pool:
        good = [pool.submit(double, number) for number in range(4)]
        bad = pool.submit(die, "culprit.wav")
        with pytest.raises(WorkerDiedError, match=r"died .* 3 times in a row at culprit.wav"):
            bad.result()
        assert [future.result() for future in good] == [0, 2, 4, 6]
        assert pool.submit(double, 5).result() == 10
        assert pool.num_deaths == 3


@pytest.mark.multiproc
def test_worker_pool_worker_that_dies_idle_costs_no_try():
    with worker_pool(2) as pool:
        os.kill(pool.submit(os.getpid).result(), signal.SIGKILL)
        assert [pool.submit(double, number).result() for number in range(8)] == [*range(0, 16, 2)]


@pytest.mark.multiproc
def test_worker_pool_interrupt_ends_workers_at_once(tmp_path):
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt), worker_pool(2) as pool:
        future = pool.submit(sleep_long, tmp_path / "started")
        wait_for(tmp_path / "started")
        raise KeyboardInterrupt
    assert future.done()
    assert time.monotonic() - started < 300


_PARENT = """
import time
from data_prepare.pool import worker_pool
with worker_pool(2) as pool:
    print(pool.submit(__import__("os").getpid).result(), flush=True)
    time.sleep(60)
"""


@pytest.mark.multiproc
def test_worker_pool_killed_parent_takes_its_workers_along(repo_root):
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT], stdout=subprocess.PIPE, text=True, cwd=repo_root
    )
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 60
    while is_alive(worker) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_alive(worker)
