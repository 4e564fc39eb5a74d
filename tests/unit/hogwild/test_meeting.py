"""Two nodes' averagers in one process: meetings that take longer than an exchange may."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist

from hogwild import nodes
from hogwild.nodes import Averager

TIMEOUT_S = 2.0


@pytest.fixture(name="averagers")
def _averagers(monkeypatch):
    """Two that have started, with a group whose exchanges end after TIMEOUT_S."""
    monkeypatch.setattr(nodes, "BEAT_S", 0.1)
    monkeypatch.setattr(dist, "all_reduce", lambda flat, group: group.allreduce([flat]).wait())
    store = dist.HashStore()
    limit = timedelta(seconds=TIMEOUT_S)

    def group(rank):
        return dist.ProcessGroupGloo(dist.PrefixStore("averages", store), rank, 2, limit)

    with ThreadPoolExecutor() as pool:
        groups = list(pool.map(group, range(2)))
    made = []
    for rank, one in enumerate(groups):
        params = {torch.float32: torch.zeros(3)}
        node = SimpleNamespace(rank=rank, size=2, average_group=one)
        made.append(Averager(params, node, every=1, momentum=0.0))
        made[-1].start()
    return made


def end(averagers):
    finishers = [threading.Thread(target=one.finish) for one in averagers]
    for one in finishers:
        one.start()
    for one in finishers:
        one.join(timeout=10 * TIMEOUT_S)
    assert not any(one.is_alive() for one in averagers)


def test_meet_waits_longer_than_the_timeout_while_the_other_node_lives(averagers):
    early, late = averagers
    with ThreadPoolExecutor() as pool:
        meeting = pool.submit(early.meet, nothing)
        time.sleep(2 * TIMEOUT_S)
        assert not meeting.done()
        assert early.failure is late.failure is None
        late.meet(nothing)
        meeting.result(timeout=10)
        again = pool.submit(early.meet, nothing)  # the other has come once, not twice
        time.sleep(0.5)
        assert not again.done()
        late.meet(nothing)
        again.result(timeout=10)
    end(averagers)


def test_node_that_waits_takes_part_in_averages(averagers):
    early, late = averagers
    late._params[torch.float32] += 8.0
    late.note(1)
    time.sleep(0.5)
    assert late.num_averages == 0  # the other trains, and wants none yet
    with ThreadPoolExecutor() as pool:
        meeting = pool.submit(early.meet, nothing)
        wait_until(lambda: early.num_averages == late.num_averages == 1)
        assert early._params[torch.float32].tolist() == [4.0] * 3
        time.sleep(0.5)
        assert late.num_averages == 1  # signs of life alone are no averages
        late.meet(nothing)
        meeting.result(timeout=10)
    end(averagers)


def test_meet_finds_a_lost_node_within_the_timeout(averagers, monkeypatch):
    early, late = averagers
    is_over = threading.Event()
    monkeypatch.setattr(late, "_round", lambda: is_over.wait(timeout=60) and False)
    with pytest.raises(RuntimeError, match="lost a node"):
        early.meet(nothing)
    is_over.set()
    late.join(timeout=10)
    assert not late.is_alive()


def test_meet_ends_when_there_is_nothing_to_wait_for(averagers):
    early, late = averagers

    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        early.meet(fail)
    late.meet(nothing)  # the other has come, if in vain
    end(averagers)


def nothing():
    """Find nothing wrong."""


def wait_until(holds, limit_s=20.0):
    end_s = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < end_s
        time.sleep(0.02)
