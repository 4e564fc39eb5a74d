import json

import pytest

from data_prepare.index import ShardIndex
from data_prepare.librispeech import SUBSETS, prepare_librispeech
from tests.unit.data_prepare.raw_corpora import (
    leave_out_plot,
    rejected,
    texts,
    tone,
    write_audio,
)


@pytest.fixture(autouse=True)
def _no_plot(monkeypatch):
    leave_out_plot(monkeypatch)


QUIET = {"progress": False}


def write_librispeech(folder, subsets, *, num=2):
    """Write one chapter of `num` utterances a subset; speakers are 100, 101, ..."""
    for speaker, subset in enumerate(subsets, start=100):
        chapter = folder / subset / str(speaker) / "7"
        names = [f"{speaker}-7-{number:04d}" for number in range(num)]
        for name in names:
            write_audio(chapter / f"{name}.flac", tone(0.5, pitch_hz=speaker))
        lines = "".join(f"{name} WORD {name}\n" for name in names)
        (chapter / f"{speaker}-7.trans.txt").write_text(lines)
    return folder


def test_librispeech_all_subsets_become_splits(tmp_path):
    raw = write_librispeech(tmp_path / "raw", SUBSETS)
    corpus = prepare_librispeech(raw, tmp_path / "out", **QUIET)
    assert set(corpus.splits) == set(SUBSETS)
    (first, _) = sorted(texts(corpus.splits["test-other"]), key=lambda row: row["id"])
    assert first == {
        "id": "106-7-0000",
        "key": "106-7-0000",
        "text": "WORD 106-7-0000",
        "speaker": "106",
        "category": "other",
        "language": "en",
        "group": "106-7",
    }
    categories = {s: ShardIndex.load(folder).categories for s, folder in corpus.splits.items()}
    assert {s for s, names in categories.items() if names == ["other"]} == {
        "train-other-500", "dev-other", "test-other",
    }  # fmt: skip


def test_librispeech_merge_joins_subsets(tmp_path):
    raw = write_librispeech(tmp_path / "LibriSpeech", SUBSETS)
    merge = {"train": "train-clean-100+train-clean-360+train-other-500", "valid": "dev-clean"}
    corpus = prepare_librispeech(tmp_path, tmp_path / "out", merge=merge, **QUIET)
    assert set(corpus.splits) == {"train", "valid", "dev-other", "test-clean", "test-other"}
    assert {row["speaker"] for row in texts(corpus.splits["train"])} == {"100", "101", "102"}
    assert raw.is_dir()


def test_librispeech_subsets_that_are_there_or_asked_for(tmp_path):
    raw = write_librispeech(tmp_path / "raw", ("dev-clean", "test-clean"))
    corpus = prepare_librispeech(raw, tmp_path / "out", **QUIET)
    assert set(corpus.splits) == {"dev-clean", "test-clean"}
    corpus = prepare_librispeech(raw, tmp_path / "one", subsets=["test-clean"], **QUIET)
    assert set(corpus.splits) == {"test-clean"}


@pytest.mark.parametrize(
    "options", [{"subsets": ["dev-other"]}, {"merge": {"train": "dev-clean+dev-other"}}]
)
def test_librispeech_absent_subset_raises(tmp_path, options):
    raw = write_librispeech(tmp_path / "raw", ("dev-clean",))
    with pytest.raises(FileNotFoundError, match="lacks dev-other"):
        prepare_librispeech(raw, tmp_path / "out", **options)


def test_librispeech_nothing_there_raises(tmp_path):
    with pytest.raises(FileNotFoundError, match="lacks train-clean-100"):
        prepare_librispeech(tmp_path, tmp_path / "out")
    (tmp_path / "dev-clean").mkdir()
    with pytest.raises(FileNotFoundError, match="no transcript"):
        prepare_librispeech(tmp_path, tmp_path / "out")


def test_librispeech_recording_and_transcript_must_match(tmp_path):
    raw = write_librispeech(tmp_path / "raw", ("dev-clean",), num=4)
    chapter = raw / "dev-clean/100/7"
    (chapter / "100-7-0001.flac").unlink()
    with (chapter / "100-7.trans.txt").open("a") as file:
        file.write("100-7-0000 AGAIN\n100-7-0009 NOTHING HERE\n")
    write_audio(chapter / "100-7-0010.flac", tone(0.5))
    prepare_librispeech(raw, tmp_path / "out", max_rejected_share=0.9, **QUIET)
    assert rejected(tmp_path / "out") == {
        "100-7-0000": "duplicate_id",
        "100-7-0001": "missing_recording",
        "100-7-0009": "missing_recording",
        "100-7-0010": "missing_transcript",
    }


def test_librispeech_real_recordings_are_all_kept(tmp_path, shared_data):
    corpus = prepare_librispeech(shared_data / "LibriSpeech", tmp_path / "out", **QUIET)
    indexes = {s: ShardIndex.load(folder, check="full") for s, folder in corpus.splits.items()}
    counts = {split: index.num_utterances for split, index in indexes.items()}
    assert counts == {"train-clean-100": 18, "test-other": 35}
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["rejected"] == {}
    assert summary["splits"]["test-other"]["num_speakers"] == 5
    first = next(t for t in indexes["test-other"].texts() if t["id"] == "1688-142285-0004")
    assert first["text"].startswith("HIS STATEMENT OF HAVING BEEN A SHOP BOY")
