"""Checkpoints of the loader: mid-epoch, elastic, through SpeechBrain's Checkpointer and Brain."""

import json
from pathlib import Path
from typing import Any

import pytest
import speechbrain as sb
import torch
from speechbrain.utils.checkpoints import Checkpointer
from speechbrain.utils.epoch_loop import EpochCounter

from data_prepare.storage import LocalStorage
from data_prepare.stream import ShardLoader
from tests.unit.data_prepare.corpora import random_shards, write_split

NUM_UTTERANCES = 40


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shards = random_shards(NUM_UTTERANCES, num_shards=3)
    return write_split(tmp_path_factory.mktemp("corpus") / "train", shards)


def make_loader(split: Path, **options: Any) -> ShardLoader:
    return ShardLoader(split, **{"max_batch_s": 1.5, "shuffle": True, **options})


def take(loader: ShardLoader, count: int) -> list[list[str]]:
    batches = iter(loader)
    return [next(batches).id for _ in range(count)]


def reload(loader: ShardLoader, folder: Path, *, end_of_epoch: bool = False, **options: Any) -> Any:
    """A new loader with the position of another, by way of a checkpoint on disk."""
    Checkpointer(folder, {"loader": loader}).save_checkpoint(end_of_epoch=end_of_epoch)
    new = make_loader(loader.index.folder, **options)
    Checkpointer(folder, {"loader": new}).recover_if_possible()
    return new


@pytest.mark.parametrize("options", [{}, {"batches_per_epoch": 4}])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_resume_mid_epoch_goes_on_with_the_next_batch(split, tmp_path, options, count):
    whole = [b.id for loader in [make_loader(split, **options)] for _ in range(3) for b in loader]
    loader = make_loader(split, **options)
    length = len(loader)
    before = take(loader, count)
    resumed = reload(loader, tmp_path, **options)
    assert len(resumed) == length
    after = [b.id for _ in range(3) for b in resumed]
    assert before + after == whole


@pytest.mark.multiproc
def test_resume_counts_batches_the_trainer_had_not_those_read_ahead(split, tmp_path):
    whole = [b.id for b in make_loader(split)]
    before = take(loader := make_loader(split, num_workers=2, prefetch_factor=4), 2)
    resumed = reload(loader, tmp_path, num_workers=1)
    assert before + [b.id for b in resumed] == whole


@pytest.mark.parametrize("read_ahead_bytes", [0, 30_000])
def test_resume_reads_nothing_of_what_came_before(split, tmp_path, monkeypatch, read_ahead_bytes):
    loader = make_loader(split)
    used = set(sum(take(loader, 4), []))
    resumed = reload(loader, tmp_path, read_ahead_bytes=read_ahead_bytes)
    reads, read_many = [], LocalStorage.read_many
    monkeypatch.setattr(
        LocalStorage,
        "read_many",
        lambda self, wanted: reads.extend(wanted) or read_many(self, wanted),
    )
    coming = set(sum([batch.id for batch in resumed], []))
    assert len(coming) == NUM_UTTERANCES - len(used)
    assert not used & coming
    texts = zip(loader.index.texts(), loader.index.utterances["num_bytes"].tolist(), strict=True)
    needed = sum(num_bytes for text, num_bytes in texts if text["id"] in coming)
    assert needed <= sum(read.num_bytes for read in reads) <= 1.05 * needed


def test_resume_4_then_3_then_1_ranks_each_utterance_once(split, tmp_path):
    used, saved = [], None
    for world_size, rounds in ((4, 2), (3, 1), (1, None)):
        loaders = [make_loader(split, rank=r, world_size=world_size) for r in range(world_size)]
        for loader in loaders:
            if saved is not None:
                loader.load_state_dict(json.loads(saved))
            batches = list(loader) if rounds is None else []
            batches += [b for _, b in zip(range(rounds or 0), loader, strict=False)]
            used += [i for b in batches if not b.is_padding for i in b.id]
        states = {json.dumps(loader.state_dict()) for loader in loaders}
        assert len(states) == 1
        saved = states.pop()
    assert len(used) == len(set(used)) == NUM_UTTERANCES


def test_resume_at_end_of_epoch_begins_the_next(split, tmp_path):
    loader = make_loader(split)
    list(loader)
    resumed = reload(loader, tmp_path, end_of_epoch=True)
    assert [b.id for b in resumed] == [b.id for b in loader]


def test_resume_after_last_batch_before_end_of_epoch_yields_nothing_once(split, tmp_path):
    loader = make_loader(split)
    take(loader, len(loader))
    resumed = reload(loader, tmp_path)
    assert list(resumed) == []
    loader = make_loader(split)
    list(loader)
    assert [b.id for b in resumed] == [b.id for b in loader]


def test_load_once_iterated_is_not_taken(split, tmp_path):
    loader = make_loader(split)
    checkpointer = Checkpointer(tmp_path, {"loader": loader})
    checkpointer.save_checkpoint()
    first = take(loader, 1)
    checkpointer.recover_if_possible()
    assert first + [b.id for b in loader] == [b.id for b in make_loader(split)]


def test_resume_with_other_options_error(split, tmp_path):
    loader = make_loader(split)
    take(loader, 1)
    with pytest.raises(ValueError, match=r"max_batch_s is 2.0, was 1.5; seed is 4, was 0"):
        reload(loader, tmp_path, max_batch_s=2.0, seed=4)


def test_resume_with_other_corpus_error(split, tmp_path):
    other = write_split(tmp_path / "other", [[0.3] * 5])
    state = make_loader(split).state_dict()
    with pytest.raises(ValueError, match="the checkpoint is of the index"):
        make_loader(other).load_state_dict(state)


class LinearBrain(sb.Brain):
    """Mean of the audio times a weight; remembers what it was trained on."""

    def compute_forward(self, batch, stage):
        return self.modules.linear(batch.wavs.data.mean(1, keepdim=True))

    def compute_objectives(self, predictions, batch, stage):
        if stage == sb.Stage.TRAIN:
            self.used.append(batch.id)
            if len(self.used) == self.dies_after:
                raise KeyboardInterrupt
        return predictions.square().mean()

    def on_stage_end(self, stage, stage_loss, epoch=None):
        if stage == sb.Stage.VALID:
            self.checkpointer.save_and_keep_only(num_to_keep=1)


def train(split: Path, folder: Path, *, dies_after: int = -1) -> list[list[str]]:
    """Two epochs, a checkpoint every 2 steps; returns the ids of all batches trained on."""
    torch.manual_seed(0)
    linear = torch.nn.Linear(1, 1)
    epochs, loader = EpochCounter(2), make_loader(split)
    brain = LinearBrain(
        {"linear": linear},
        lambda params: torch.optim.SGD(params, lr=0.1),
        run_opts={"device": "cpu", "ckpt_interval_steps": 2, "noprogressbar": True},
        checkpointer=Checkpointer(folder, {"model": linear, "epoch": epochs, "loader": loader}),
    )
    brain.used, brain.dies_after = [], dies_after
    try:
        brain.fit(epochs, loader, make_loader(split, shuffle=False, max_batch_s=9.0))
    except KeyboardInterrupt:
        brain.used.pop()
    return brain.used


@pytest.mark.parametrize("dies_after", [4, 16])
def test_brain_fit_killed_and_resumed_sees_what_an_unbroken_run_sees(split, tmp_path, dies_after):
    whole = train(split, tmp_path / "whole")
    before = train(split, tmp_path / "killed", dies_after=dies_after)
    after = train(split, tmp_path / "killed")
    # Batches after the last checkpoint are repeated, from its very place on.
    assert before == whole[: dies_after - 1]
    assert after == whole[len(whole) - len(after) :]
    assert len(whole) - len(after) <= len(before)
    assert len(sum(whole, [])) == 2 * NUM_UTTERANCES
