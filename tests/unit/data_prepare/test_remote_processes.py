"""Processes on one machine that stream the same shards through one cache, and kills of them."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from tests.unit.data_prepare.faulty_server import FaultyServer
from tests.unit.data_prepare.remote_cases import (
    NUM_UTTERANCES,
    SHARD,
    assert_all_came,
    corpus,
    make_loader,
    no_proxies,
)

pytest.importorskip("aiohttp")
pytestmark = pytest.mark.multiproc
__all__ = ["corpus", "no_proxies"]
FORK = multiprocessing.get_context("fork")


def load_part(address: str, cache: Path, rank: int) -> None:
    """Stream a rank's part with a loader worker and write down what came."""
    loader = make_loader(address, cache, rank=rank, world_size=2, num_workers=1)
    names = [i for batch in loader if not batch.is_padding for i in batch.id]
    (cache / f"ids-{rank}").write_text(" ".join(names))


def test_ranks_share_downloads(corpus, tmp_path):
    with FaultyServer(corpus) as server:
        address = f"{server.address}/train"
        server.fail(SHARD, "reset")
        # The parent has connections of its own, which the ranks inherit and must not use.
        make_loader(address, tmp_path)
        processes = [FORK.Process(target=load_part, args=(address, tmp_path, n)) for n in (0, 1)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        requests = server.num_requests()
    assert [process.exitcode for process in processes] == [0, 0]
    found = " ".join((tmp_path / f"ids-{n}").read_text() for n in (0, 1)).split()
    assert len(found) == len(set(found)) == NUM_UTTERANCES
    assert [requests[f"shard-{n:06d}.tar"] for n in range(3)] == [1, 2, 1]


def test_run_after_a_kill_in_mid_download(corpus, tmp_path):
    with FaultyServer(corpus) as server:
        address = f"{server.address}/train"
        make_loader(address, tmp_path)
        server.fail(SHARD, "stall")
        process = FORK.Process(target=lambda: list(make_loader(address, tmp_path)))
        process.start()
        while not server.num_requests()[SHARD]:
            assert process.is_alive()
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert_all_came(list(make_loader(address, tmp_path)))
    assert not [path for path in tmp_path.rglob("*") if path.suffix == ".part"]
