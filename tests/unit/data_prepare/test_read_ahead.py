"""Reading ahead: who is told what, what the thread reads, and that batches stay the same."""

import os
import pickle
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prepare.batch import BatchRequest
from data_prepare.index import ROW_DTYPE
from data_prepare.read_ahead import AheadSampler, ReadAhead
from data_prepare.reading import Fetched
from data_prepare.stream import ShardLoader
from tests.unit.data_prepare.corpora import random_shards, write_split


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shards = random_shards(60, num_shards=3)
    return write_split(tmp_path_factory.mktemp("corpus") / "train", shards)


def request(*sizes: int, number: int = 0, run: int = 1) -> BatchRequest:
    rows = np.zeros(len(sizes), dtype=ROW_DTYPE)
    rows["num_bytes"] = sizes
    rows["offset"] = np.cumsum([0, *sizes[:-1]]) + 1000 * number
    return BatchRequest(rows, number=number, run=run)


@settings(deadline=None, derandomize=True, max_examples=80)
@given(st.lists(st.integers(1, 50), max_size=40), st.integers(0, 4), st.integers(0, 300))
def test_sampler_tells_each_worker_early_of_its_own_requests_only(sizes, num_workers, num_bytes):
    requests: Any = [request(size) for size in sizes]
    sampler = AheadSampler(requests, num_workers=num_workers, num_bytes=num_bytes)
    told: dict[int, int] = {}
    for number, given_out in enumerate(sampler):
        assert given_out.rows is requests[number].rows
        told.pop(number, None)
        for coming in given_out.ahead:
            assert coming.number > number
            assert coming.number not in told
            assert (coming.number - number) % max(1, num_workers) == 0
            told[coming.number] = sizes[coming.number]
        held = Counter()
        for coming, size in told.items():
            held[coming % max(1, num_workers)] += size
        assert max(held.values(), default=0) <= num_bytes
    assert not told


def test_sampler_with_room_tells_of_every_request():
    requests: Any = [request(10) for _ in range(9)]
    numbers = [
        [coming.number for coming in given_out.ahead]
        for given_out in AheadSampler(requests, num_workers=2, num_bytes=10**6)
    ]
    assert numbers == [[2, 4, 6, 8], [3, 5, 7], *[[]] * 7]


def test_sampler_negative_bytes_error():
    with pytest.raises(ValueError, match="read_ahead_bytes is -1"):
        AheadSampler([], num_workers=0, num_bytes=-1)  # type: ignore[arg-type]


def fetched(rows: np.ndarray) -> Fetched:
    """Each row's bytes hold its offset; 7 bytes more are read."""
    pairs = [memoryview(bytes([row["offset"] % 251]) * int(row["num_bytes"])) for row in rows]
    return Fetched(pairs, sum(map(len, pairs)) + 7)


def test_read_ahead_gives_the_bytes_of_each_request_once():
    ahead = ReadAhead(fetched)
    requests = [request(3, 4, number=2), request(5, number=4)]
    ahead.announce(requests)
    second, first = ahead.take(requests[1]), ahead.take(requests[0])
    assert first == Fetched(fetched(requests[0].rows).pairs, 7 + 7)
    assert second == Fetched(fetched(requests[1].rows).pairs, 5)
    assert ahead.take(requests[0]) is None
    assert ahead.take(request(3, number=6)) is None
    assert ahead.take(request(3, number=2, run=2)) is None


def test_read_ahead_unreadable_chunk_is_left_to_each_request():
    def fails(rows: np.ndarray) -> Fetched:
        raise FileNotFoundError("gone")

    ahead = ReadAhead(fails)
    ahead.announce([request(3, number=1)])
    assert ahead.take(request(3, number=1)) is None


def test_read_ahead_our_own_mistake_is_raised_where_the_bytes_are_wanted():
    ahead = ReadAhead(lambda rows: Fetched([], "mistake"))  # type: ignore[arg-type]
    ahead.announce([request(3, number=1)])
    with pytest.raises(TypeError):
        ahead.take(request(3, number=1))


def test_read_ahead_of_an_iteration_given_up_is_dropped():
    started, go_on, read = threading.Event(), threading.Event(), []

    def slow(rows: np.ndarray) -> Fetched:
        read.append(len(rows))
        started.set()
        go_on.wait()
        return fetched(rows)

    ahead = ReadAhead(slow)
    ahead.announce([request(3, number=1)])
    ahead.announce([request(3, 3, number=3)])
    started.wait()
    new = request(3, 3, 3, number=1, run=2)
    ahead.announce([new])
    go_on.set()
    assert len(ahead.take(new).pairs) == 3
    assert read == [1, 3]


def test_read_ahead_thread_ends_with_its_owner_and_is_not_pickled():
    before = set(threading.enumerate())
    ahead = ReadAhead(fetched)
    ahead.announce([request(3, number=1)])
    (thread,) = set(threading.enumerate()) - before
    assert pickle.loads(pickle.dumps(ahead)).take(request(3, number=1)) is None
    del ahead
    thread.join(timeout=60)
    assert not thread.is_alive()


@pytest.mark.parametrize("num_bytes", [0, 20_000, 10**8])
@pytest.mark.parametrize("num_workers", [0, pytest.param(2, marks=pytest.mark.multiproc)])
def test_loader_batches_are_the_same_and_little_more_is_read(split, num_workers, num_bytes):
    options: Any = {"max_batch_s": 2.0, "shuffle": True}
    expected = list(ShardLoader(split, read_ahead_bytes=0, **options))
    loader = ShardLoader(split, num_workers=num_workers, read_ahead_bytes=num_bytes, **options)
    for batch, other in zip(loader, expected, strict=True):
        assert batch.id == other.id
        assert torch.equal(batch.wavs.data, other.wavs.data)
    assert 1 <= loader.statistics.num_bytes / loader.index.utterances["num_bytes"].sum() <= 1.05


def test_loader_reads_a_small_corpus_in_few_reads(split, monkeypatch):
    reads, pread = [], os.pread
    monkeypatch.setattr(os, "pread", lambda fd, n, at: reads.append(n) or pread(fd, n, at))
    loader = ShardLoader(split, max_batch_s=2.0, shuffle=True, read_ahead_bytes=10**8)
    num_batches = len(list(loader))
    assert len(reads) < num_batches


def test_loader_shard_that_goes_while_read_ahead_faults_only_its_own(tmp_path):
    split = write_split(tmp_path / "train", [[0.3] * 6, [0.3] * 6])
    loader = ShardLoader(split, max_batch_s=0.7, shuffle=True, max_bad_share=0.5)
    (split / "shard-000001.tar").unlink()
    used = [utterance for batch in loader if not batch.is_padding for utterance in batch.id]
    assert sorted(used) == [f"utt-{number}" for number in range(6)]
    assert loader.statistics.faults_by_kind == {"missing_shard": 6}
