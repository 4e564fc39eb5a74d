"""Rebuilding an index from shards: byte for byte, or not at all, or as asked."""

import json
import os
import shutil
from pathlib import Path

import pytest

from data_prepare import repair
from data_prepare.index import INDEX_NAME, ROWS_NAME, TEXTS_NAME, ShardIndex
from data_prepare.manifest import prepare_manifest
from data_prepare.prepared import locked
from data_prepare.repair import repair_split
from data_prepare.verify import _command, verify, verify_corpus
from tests.unit.data_prepare.corpora import write_split
from tests.unit.data_prepare.damage import change_index, digest, offset_of, overwrite
from tests.unit.data_prepare.raw_corpora import leave_out_plot, write_manifest

INDEX_FILES = (INDEX_NAME, ROWS_NAME, TEXTS_NAME)
SHARDS = [f"shard-00000{number}.tar" for number in range(3)]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of one split and three shards, as a preparer writes it."""
    folder = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patch:
        leave_out_plot(patch)
        manifest = write_manifest(folder / "raw", 7, split="train", category="ü/x")
        options = {"num_shards": {"train": 3}, "progress": False}
        prepare_manifest(manifest, folder / "out", **options)
    return folder / "out"


@pytest.fixture
def corpus(prepared: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(prepared, tmp_path / "corpus"))


@pytest.mark.parametrize("lost", [[name] for name in INDEX_FILES] + [list(INDEX_FILES)])
def test_repair_lost_files_come_back_byte_for_byte(corpus, lost):
    before = digest(corpus)
    for name in lost:
        (corpus / "train" / name).unlink()
    report = verify(corpus, repair=True, progress=False)
    assert not report.findings
    (corpus / "verify.json").unlink()
    assert digest(corpus) == before


@pytest.mark.multiproc
def test_repair_by_processes_and_of_damaged_index_is_the_same(corpus):
    before = digest(corpus)
    change_index(corpus / "train", num_samples=1)
    overwrite(corpus / "train" / ROWS_NAME, 200, b"\1" * 8)
    assert repair_split(corpus / "train", num_jobs=2).is_written
    assert digest(corpus) == before


def test_repair_of_split_that_stands_alone(tmp_path):
    split = write_split(tmp_path / "valid", [[0.1, 0.2], [], [0.3, 0.1]])
    change_index(split, split="valid")  # the helper writes "train"
    before = ShardIndex.load(split)
    texts = list(before.texts())
    (split / INDEX_NAME).unlink()
    result = repair_split(split)
    assert (result.is_written, result.is_identical) == (True, None)
    index = ShardIndex.load(split, check="full")
    assert (index.split, index.shards) == ("valid", before.shards)
    assert index.utterances.tolist() == before.utterances.tolist()
    assert list(index.texts()) == texts


def test_repair_whole_index_damaged_shard_is_reported_not_dropped(corpus, capsys):
    split = corpus / "train"
    overwrite(split / SHARDS[1], offset_of(split, 3) + 700, bytes(50))
    before = digest(split)
    assert _command([str(corpus), "--repair", "--no-progress"]) == 1
    assert digest(split) == before
    out = capsys.readouterr().out
    assert "not done, 1 damaged" in out
    assert "--drop_damaged" in out
    assert SHARDS[1] in out


def test_repair_without_damaged_shards_as_asked_and_noted(corpus):
    split = corpus / "train"
    num_left = sum(shard.num_utterances for shard in ShardIndex.load(split).shards[::2])
    os.truncate(split / SHARDS[1], 1000)
    report = verify(corpus, repair=True, drop_damaged=True, progress=False)
    # The shard still lies there, and only that is left to say.
    assert report.findings.counts == {"foreign_file": 1}
    index = ShardIndex.load(split, check="full")
    assert [shard.name for shard in index.shards] == SHARDS[::2]
    assert index.num_utterances == num_left
    summary = json.loads((corpus / "summary.json").read_text())
    assert summary["splits"]["train"]["num_utterances"] == num_left
    assert summary["notes"][-1] == f"train was repaired without 1 shards: {SHARDS[1]}"


@pytest.mark.parametrize("gone", SHARDS)
def test_repair_lost_index_and_missing_shard_is_noticed(corpus, gone):
    (corpus / "train" / INDEX_NAME).unlink()
    (corpus / "train" / gone).unlink()
    result = repair_split(corpus / "train")
    assert (result.is_written, result.damaged) == (False, [gone])
    assert not (corpus / "train" / INDEX_NAME).exists()


def test_repair_all_shards_gone_never_writes_an_empty_index(corpus):
    for name in SHARDS:
        (corpus / "train" / name).unlink()
    result = repair_split(corpus / "train", drop_damaged=True)
    assert not result.is_written


def test_repair_double_keys_is_refused(corpus):
    split = corpus / "train"
    shutil.copy(split / SHARDS[0], split / "shard-000003.tar")
    (split / INDEX_NAME).unlink()
    result = repair_split(split, drop_damaged=True)
    assert not result.is_written
    assert result.findings.counts["duplicate_key"] > 0


def test_repair_while_something_is_prepared_is_refused(corpus):
    with locked(corpus), pytest.raises(RuntimeError, match="another process"):
        repair_split(corpus / "train")
    (corpus / ".work" / "plan").mkdir()
    with pytest.raises(ValueError, match="its preparation has not ended"):
        repair_split(corpus / "train")


def test_repair_killed_before_its_end_leaves_the_old_index_and_goes_again(corpus, monkeypatch):
    split = corpus / "train"
    (split / ROWS_NAME).unlink()
    old = (split / INDEX_NAME).read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(repair, "write_index", lambda *_, **__: os._exit(3))
        patch.setattr(repair.shutil, "rmtree", lambda *_, **__: None)
        child = os.fork()
        if not child:
            try:
                repair_split(split)
            finally:
                os._exit(9)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    assert (split / INDEX_NAME).read_bytes() == old
    assert verify_corpus(corpus, depth="quick").findings.counts["leftover"] == 1
    assert repair_split(split).is_identical
    assert not verify_corpus(corpus).findings
