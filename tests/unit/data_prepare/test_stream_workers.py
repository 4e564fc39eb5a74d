"""What other processes get of a loader: little, and the same batches."""

import multiprocessing
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from data_prepare.index import ShardIndex
from data_prepare.reading import ShardReader
from data_prepare.stream import ShardLoader
from tests.unit.data_prepare.corpora import random_shards, write_split


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shards = random_shards(60, num_shards=3)
    return write_split(tmp_path_factory.mktemp("corpus") / "train", shards)


def make_loader(split: Path) -> ShardLoader:
    return ShardLoader(split, max_batch_s=2.0, shuffle=True, seed=3)


def test_workers_get_no_copy_of_index_and_plan(split):
    loader = make_loader(split)
    sizes = [len(pickle.dumps(request)) for request in loader.sampler]
    list(loader)
    assert len(pickle.dumps(loader.dataset)) < 2000
    assert max(sizes) < 8000
    assert sum(sizes) / len(sizes) < 2000


def test_reader_of_3000_shards_pickles_to_a_few_bytes_a_shard(split):
    index = ShardIndex.load(split)
    many = [replace(index.shards[0], name=f"shard-{number:06d}.tar") for number in range(3000)]
    assert len(pickle.dumps(ShardReader(replace(index, shards=many)))) < 30 * 3000


def put_batches(loader: ShardLoader, numbers: list[int], queue: Any) -> None:
    for number in numbers:
        batch = loader.fetch(number)
        queue.put((number, batch.id, batch.wavs.data.numpy().tobytes()))


@pytest.mark.multiproc
def test_fetch_in_several_processes_gives_the_batches_of_one(split):
    processes = multiprocessing.get_context("fork")
    loader = make_loader(split)
    # Open files and threads of the parent must not disturb its children.
    expected = [(batch.id, batch.wavs.data.numpy().tobytes()) for batch in loader]
    queue = processes.Queue()
    children = [
        processes.Process(
            target=put_batches, args=(loader, list(range(rest, len(expected), 2)), queue)
        )
        for rest in range(2)
    ]
    for child in children:
        child.start()
    found = {number: rest for number, *rest in (queue.get() for _ in expected)}
    for child in children:
        child.join()
    assert [tuple(found[number]) for number in range(len(expected))] == expected


@pytest.mark.multiproc
def test_loader_forked_in_mid_epoch_goes_on_in_both_processes(split):
    whole = [batch.id for batch in make_loader(split)]
    batches = iter(make_loader(split))
    before = [next(batches).id]
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=lambda: queue.put([batch.id for batch in batches]))
    child.start()
    ours = before + [batch.id for batch in batches]
    theirs = before + queue.get()
    child.join()
    assert ours == theirs == whole
