"""Nothing silent: shards that are missing or changed are an error, or counted faults by option."""

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from data_prepare.index import TEXTS_NAME, ShardIndex
from data_prepare.storage import LocalStorage
from data_prepare.stream import ShardLoader
from tests.unit.data_prepare.corpora import random_shards, write_split
from tests.unit.data_prepare.damage import accept_files, change_rows, offset_of, overwrite

NUM_UTTERANCES = 30
SHARD = "shard-000001.tar"  # holds utterances 10 to 19
OTHERS = {f"utt-{number}" for number in (*range(10), *range(20, NUM_UTTERANCES))}


@pytest.fixture
def split(tmp_path: Path) -> Path:
    return write_split(tmp_path / "train", random_shards(NUM_UTTERANCES, num_shards=3))


def make_loader(split: Path, **options: Any) -> ShardLoader:
    return ShardLoader(split, **{"max_batch_s": 1.5, "shuffle": True, **options})


def ids(loader: ShardLoader) -> list[str]:
    return [i for batch in loader if not batch.is_padding for i in batch.id]


def remove(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 2000)


def lengthen(path: Path) -> None:
    with path.open("ab") as file:
        file.write(bytes(512))


def change(path: Path) -> None:
    overwrite(path, path.stat().st_size - 1000, b"\1")  # within the end of the archive


def to_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES = pytest.mark.parametrize(
    ("damage", "check", "kind"),
    [
        (remove, "size", "missing_shard"),
        (to_folder, "size", "missing_shard"),
        (cut, "size", "changed_shard"),
        (lengthen, "size", "changed_shard"),
        (change, "full", "changed_shard"),
    ],
)


@DAMAGES
def test_bad_shard_by_default_error_at_start_names_it(split, damage, check, kind):
    damage(split / SHARD)
    with pytest.raises(ValueError, match=rf"1 fault\(s\): {SHARD}: "):
        make_loader(split, check=check)


@DAMAGES
def test_bad_shard_within_share_counted_by_kind(split, damage, check, kind):
    expected = make_loader(split).report()
    damage(split / SHARD)
    loader = make_loader(split, check=check, max_bad_share=0.4)
    assert loader.report() == expected
    for _ in range(2):
        assert set(ids(loader)) == OTHERS
        summary = loader.statistics.summary()
        assert (summary["faults"], summary["faults_by_kind"]) == (10, {kind: 10})
        assert summary["utterances"] == 20


def test_bad_shard_beyond_share_error_names_shard_and_key(split):
    (split / SHARD).unlink()
    with pytest.raises(ValueError, match=rf"unusable .*{SHARD}, offset \d+, key utt-1\d: missing"):
        ids(make_loader(split, max_bad_share=0.3))


@pytest.mark.parametrize("world_size", [2, 3])
def test_bad_shard_all_ranks_get_as_many_batches(split, world_size):
    (split / SHARD).unlink()
    options = {"max_bad_share": 0.9, "window_shards": 1, "world_size": world_size}
    loaders = [make_loader(split, rank=rank, **options) for rank in range(world_size)]
    batches = [list(loader) for loader in loaders]
    assert len({len(part) for part in batches}) == 1
    used = [i for part in batches for b in part if not b.is_padding for i in b.id]
    assert sorted(used) == sorted(OTHERS)
    assert sum(loader.statistics.faults for loader in loaders) == 10
    # One shard a window: some batches hold nothing else, and stand in as padding.
    silent = [b for part in batches for b in part if b.is_padding and b.faults]
    assert silent
    assert all(b.wavs.data.abs().max() == 0 for b in silent)


def test_bad_shard_on_one_node_only_resumes_anywhere(split, tmp_path):
    loader = make_loader(split)
    batches = iter(loader)
    before = next(batches).id + next(batches).id
    state = loader.state_dict()
    (split / SHARD).unlink()
    other = make_loader(split, max_bad_share=0.9)
    other.load_state_dict(state)
    after = ids(other)
    assert set(before + after) >= OTHERS
    assert len(before + after) + other.statistics.faults == NUM_UTTERANCES


@pytest.mark.multiproc
@pytest.mark.parametrize("num_workers", [0, 2])
def test_shard_gone_while_reading_counted_and_others_read(split, num_workers):
    loader = make_loader(split, max_bad_share=0.9, num_workers=num_workers, window_shards=3)
    (split / SHARD).unlink()
    assert set(ids(loader)) == OTHERS
    assert loader.statistics.faults_by_kind == {"missing_shard": 10}


@pytest.mark.parametrize(
    ("at", "data", "kind"), [(0, b"evil", "entry"), (512 + 100, bytes(200), "audio")]
)
def test_one_bad_utterance_counted_by_kind(split, at, data, kind):
    overwrite(split / SHARD, offset_of(split, 12) + at, data)
    loader = make_loader(split, max_bad_share=0.1)
    assert set(ids(loader)) == {f"utt-{n}" for n in range(NUM_UTTERANCES)} - {"utt-12"}
    assert loader.statistics.faults_by_kind == {kind: 1}


def test_row_unlike_its_entry_error_names_key(split):
    change_rows(split, "category", 0, 1)
    accept_files(split)
    with pytest.raises(ValueError, match="key utt-0: category is 'clean', the index says 'noisy'"):
        ids(make_loader(split))


def test_damaged_index_files_are_never_tolerated(split):
    overwrite(split / TEXTS_NAME, 3, b"x")
    with pytest.raises(ValueError, match=rf"{TEXTS_NAME}: its SHA-256 differs"):
        make_loader(split, check="full", max_bad_share=0.9)


def test_many_faults_few_lines_of_log(split, monkeypatch, caplog):
    monkeypatch.setattr("data_prepare.accounting.MAX_LOGGED", 4)
    (split / SHARD).unlink()
    loader = make_loader(split, max_bad_share=0.9)
    ids(loader)
    assert caplog.text.count("skipped shard") == 4
    assert caplog.text.count("further skips") == 1
    assert caplog.text.count("skipped in this epoch: {'missing_shard': 10}") == 1


def test_share_is_counted_for_each_pass_also_of_one_broken_off(split):
    (split / SHARD).unlink()
    loader = make_loader(split, shuffle=False, max_bad_share=0.4)
    for _ in range(4):
        for number, _ in enumerate(loader):
            if number == len(loader) - 2:
                break
    assert set(ids(loader)) == OTHERS


def test_full_check_reads_several_shards_at_a_time(split, monkeypatch):
    both = threading.Barrier(2, timeout=120)
    sha256 = LocalStorage.sha256

    def meet(storage: LocalStorage, name: str) -> str:
        if name in ("shard-000000.tar", SHARD):
            both.wait()
        return sha256(storage, name)

    monkeypatch.setattr(LocalStorage, "sha256", meet)
    assert ShardIndex.load(split, check="full").num_utterances == NUM_UTTERANCES
