"""Shared memory between loader worker and trainer: used again, never while somebody reads it."""

import multiprocessing
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data_prepare import handover
from data_prepare.handover import MAX_BUFFERS, Buffers, Received
from data_prepare.stream import ShardLoader
from tests.unit.data_prepare.corpora import random_shards, write_split


@pytest.fixture(autouse=True)
def no_mappings_left():
    yield
    handover._mapped.clear()


def received(sent: Any) -> Received:
    """What the trainer gets; without a process between, so without pickling."""
    return Received(*sent.__reduce__()[1])


def filled(buffers: Buffers, shape: tuple[int, int], value: float) -> Any:
    sent = buffers.take(*shape)
    sent.samples()[:] = value
    return sent


def test_buffer_is_used_again_only_when_the_trainer_dropped_it():
    buffers = Buffers()
    first = received(filled(buffers, (2, 3), 0.5))
    second = received(filled(buffers, (2, 3), -0.5))
    floats = first.floats()[:, 1:]  # a view is enough to hold it
    del first
    third = received(filled(buffers, (3, 2), 0.25))
    assert len(buffers._buffers) == 3
    assert torch.equal(floats, torch.full((2, 2), 0.5))
    del floats
    fourth = received(filled(buffers, (3, 2), 0.75))
    assert len(buffers._buffers) == 3
    assert torch.equal(second.floats(), torch.full((2, 3), -0.5))
    assert torch.equal(third.floats(), torch.full((3, 2), 0.25))
    assert torch.equal(fourth.floats(), torch.full((3, 2), 0.75))


def test_buffer_known_to_the_trainer_is_sent_by_name():
    buffers = Buffers()
    sent = filled(buffers, (1, 4), 1)
    assert sent.__reduce__()[1][2] is not None
    del_me = received(sent)
    del del_me
    again = filled(buffers, (1, 4), 2)
    assert again is sent
    assert again.__reduce__()[1][2] is None
    assert torch.equal(received(again).floats(), torch.full((1, 4), 2.0))


def test_buffer_too_small_is_replaced():
    buffers = Buffers()
    received(filled(buffers, (1, 4), 1))
    received(filled(buffers, (100, 4), 2))
    assert len(buffers._buffers) == 1


def test_buffers_on_their_way_beyond_the_bound_are_not_kept():
    buffers = Buffers()
    sent = [filled(buffers, (1, 1), number) for number in range(MAX_BUFFERS + 3)]
    assert len(buffers._buffers) == MAX_BUFFERS
    values = [received(one).floats() for one in sent]
    assert values == list(range(MAX_BUFFERS + 3))
    assert len(handover._mapped) == MAX_BUFFERS
    assert [one.is_free() for one in sent] == [False] * MAX_BUFFERS + [True] * 3


def test_buffer_cut_to_what_could_be_read():
    buffers = Buffers()
    sent = buffers.take(3, 4)
    sent.samples()[:] = np.arange(12).reshape(3, 4)
    sent.cut(2, 3)
    assert received(sent).floats().tolist() == [[0, 1, 2], [4, 5, 6]]
    buffers.take(3, 4).cut(0, 0)
    assert len(buffers._buffers) == 1


def test_buffers_pickled_or_forked_start_empty():
    buffers = Buffers()
    filled(buffers, (1, 1), 1)
    assert pickle.loads(pickle.dumps(buffers))._buffers == []
    buffers._process = -1
    filled(buffers, (1, 1), 1)
    assert len(buffers._buffers) == 1


@pytest.mark.multiproc
def test_buffers_of_a_worker_that_ended_are_forgotten():
    process = multiprocessing.get_context("spawn").Process(target=os.getpid)
    process.start()
    process.join()
    handover._mapped[(process.pid, "x", 1)] = torch.zeros(16)
    alive = received(filled(Buffers(), (1, 1), 1))
    assert [name[0] for name in handover._mapped] == [os.getpid()]
    assert alive.floats().shape == (1, 1)


@pytest.mark.multiproc
def test_loader_batches_that_the_trainer_keeps_never_change(tmp_path: Path):
    split = write_split(tmp_path / "train", random_shards(40, num_shards=3))
    expected = list(ShardLoader(split, max_batch_s=1.0, shuffle=True))
    assert len(expected) > 12
    loader = ShardLoader(split, max_batch_s=1.0, shuffle=True, num_workers=1)
    kept = list(loader)
    assert 0 < len(handover._mapped) < len(expected)
    for batch, other in zip(kept, expected, strict=True):
        assert batch.id == other.id
        assert torch.equal(batch.wavs.data, other.wavs.data)
    kept = next(iter(loader)).wavs.data
    copy = kept.clone()
    # An iteration that was given up leaves nothing behind that the next one could get.
    assert [batch.id for batch in loader] != [batch.id for batch in expected]
    assert torch.equal(kept, copy)
