import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data_prepare.pool import SerialExecutor, ordered_map, worker_pool


def double(number):
    return 2 * number


def die(_):
    os.kill(os.getpid(), signal.SIGKILL)


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
def test_worker_pool_killed_worker_is_an_error_not_a_hang():
    with pytest.raises(RuntimeError, match="worker process died"), worker_pool(2) as pool:
        list(ordered_map(pool, die, range(2), ahead=1))


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
    deadline = time.monotonic() + 10
    while _is_alive(worker) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _is_alive(worker)


def _is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
