"""The loader: epochs, ranks, workers, faults, statistics."""

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from data_prepare.plan_options import PlanOptions
from data_prepare.stream import ShardLoader
from tests.unit.data_prepare.corpora import random_shards, write_split

NUM_UTTERANCES = 40


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shards = random_shards(NUM_UTTERANCES, num_shards=3)
    return write_split(tmp_path_factory.mktemp("corpus") / "train", shards)


def make_loader(split: Path, **options: Any) -> ShardLoader:
    return ShardLoader(split, **{"max_batch_s": 1.5, "shuffle": True, **options})


def ids(batches: Any) -> list[list[str]]:
    return [batch.id for batch in batches]


def test_loader_epochs_each_utterance_once_in_new_order(split):
    loader = make_loader(split)
    epochs = [ids(loader), ids(loader)]
    for epoch in epochs:
        assert len(set(sum(epoch, []))) == len(sum(epoch, [])) == NUM_UTTERANCES
    assert epochs[0] != epochs[1]
    assert epochs == [ids(again) for again in [make_loader(split)] for _ in range(2)]


def test_loader_length_and_last_batch_flag(split):
    loader = make_loader(split)
    length = len(loader)
    flags = [(batch.ends_epoch, len(loader)) for batch in loader]
    assert [ends for ends, _ in flags] == [False] * (length - 1) + [True]
    assert {n for _, n in flags} == {length}


@pytest.mark.multiproc
def test_loader_workers_change_nothing(split):
    expected = make_loader(split)
    loader = make_loader(split, num_workers=2, prefetch_factor=3)
    for _ in range(2):
        for batch, other in zip(loader, expected, strict=True):
            assert batch.id == other.id
            assert torch.equal(batch.wavs.data, other.wavs.data)
            assert batch.position == other.position


@pytest.mark.multiproc
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_loader_more_workers_than_batches_and_one_thread_each(split):
    def threads(example):
        return {**example, "threads": torch.get_num_threads()}

    loader = make_loader(split, num_workers=3, max_batch_s=30.0, transforms=threads)
    batches = list(loader)
    assert len(batches) == 1
    assert set(batches[0].threads.tolist()) == {1}


def test_loader_ranks_share_the_epoch_in_equal_parts(split):
    parts = [list(make_loader(split, rank=rank, world_size=3)) for rank in range(3)]
    assert len({len(part) for part in parts}) == 1
    used = [i for part in parts for b in part if not b.is_padding for i in b.id]
    assert len(used) == len(set(used)) == NUM_UTTERANCES


def test_loader_rank_from_process_group(split, monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    assert ids(make_loader(split)) == ids(make_loader(split, rank=1, world_size=2))


def test_loader_world_size_in_environment_without_group_error(split, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    loader = make_loader(split)
    with pytest.raises(RuntimeError, match="WORLD_SIZE is 2 but torch.distributed is not"):
        len(loader)
    assert len(list(make_loader(split, rank=0, world_size=1))) > 0


def test_loader_nominal_epochs_go_on_where_the_last_stopped(split):
    loader = make_loader(split, batches_per_epoch=3)
    used = []
    while len(used) < NUM_UTTERANCES:
        assert len(loader) == 3
        epoch = list(loader)
        assert [b.ends_epoch for b in epoch] == [False, False, True]
        used += sum(ids(epoch), [])
    assert len(set(used[:NUM_UTTERANCES])) == NUM_UTTERANCES


def test_loader_unshuffled_every_iteration_is_whole_even_after_a_break(split):
    loader = make_loader(split, shuffle=False)
    for _ in loader:
        break
    whole = ids(loader)
    assert len(sum(whole, [])) == NUM_UTTERANCES
    assert ids(loader) == whole


def test_loader_shuffled_after_a_break_goes_on(split):
    loader = make_loader(split)
    used = []
    for batch in loader:
        used += batch.id
        break
    assert sorted(used + sum(ids(loader), [])) == sorted(sum(ids(make_loader(split)), []))


def test_loader_never_draws_from_global_random_state(split):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    list(make_loader(split))
    assert torch.equal(torch.rand(1), expected)


def test_loader_pickled_before_use_loads_the_same(split):
    loader = make_loader(split)
    assert ids(pickle.loads(pickle.dumps(loader))) == ids(loader)


@pytest.mark.multiproc
def test_loader_spawned_workers_load_the_same(split):
    loader = make_loader(split, num_workers=1, multiprocessing_context="spawn")
    assert ids(loader) == ids(make_loader(split))


def test_loader_statistics_count_what_was_delivered(split):
    loader = make_loader(split)
    report = loader.report()
    list(loader)
    summary = loader.statistics.summary()
    assert summary["utterances"] == NUM_UTTERANCES
    assert summary["audio_s"] == pytest.approx(report["audio_s"])
    assert summary["padding_share"] == pytest.approx(report["padding_share"])
    assert summary["num_bytes"] == int(loader.index.utterances["num_bytes"].sum())
    assert summary["wait_s"] > 0


def test_loader_batch_by_number_is_that_of_the_epoch(split):
    loader = make_loader(split)
    fetched = [loader.fetch(number, pass_number=1).id for number in range(loader.num_batches(1))]
    list(loader)
    assert ids(loader) == fetched


def damaged(folder: Path) -> Path:
    """Corpus whose utterance 2 does not decode."""
    split = write_split(folder / "train", [[0.3] * 10])
    row = make_loader(split).index.utterances[2]
    with (split / "shard-000000.tar").open("r+b") as file:
        file.seek(int(row["offset"]) + 700)
        file.write(bytes(200))
    return split


@pytest.mark.parametrize("num_workers", [0, pytest.param(1, marks=pytest.mark.multiproc)])
def test_loader_bad_utterance_error_names_it(tmp_path, num_workers):
    loader = make_loader(damaged(tmp_path), num_workers=num_workers)
    with pytest.raises(ValueError, match=r"1 unusable .* shard-000000.tar, offset \d+, key utt-2"):
        list(loader)


def test_loader_bad_utterance_within_share_skipped_and_counted(tmp_path, caplog):
    loader = make_loader(damaged(tmp_path), max_bad_share=0.1)
    for _ in range(2):
        used = sum(ids(loader), [])
        assert len(used) == 9
        assert "utt-2" not in used
        assert loader.statistics.faults == 1
    assert "skipped shard-000000.tar" in caplog.text


def test_loader_shard_gone_error(tmp_path):
    loader = make_loader(write_split(tmp_path / "train", [[0.3] * 4]))
    os.remove(tmp_path / "train" / "shard-000000.tar")  # noqa: PTH107 - reads better
    with pytest.raises(
        ValueError, match=r"4 unusable .* shard-000000.tar, offset \d+, key utt-\d: can"
    ):
        list(loader)


def test_loader_bad_options_error(split):
    with pytest.raises(ValueError, match="batches_per_epoch is 0.*rank is 2 of 2"):
        make_loader(split, batches_per_epoch=0, rank=2, world_size=2)
    with pytest.raises(ValueError, match="max_bad_share is 1.5"):
        make_loader(split, max_bad_share=1.5)
    with pytest.raises(FileNotFoundError, match=r"index.json is missing"):
        make_loader(split / "nowhere")


def test_loader_defaults_are_those_of_plan_options(split):
    options = ShardLoader(split, max_batch_s=2.0).sequence.planner.options
    assert options == PlanOptions(max_batch_s=2.0)
