"""Checking a prepared corpus: each kind of fault is found, named and counted."""

import json
import os
import pickle
import tarfile
from pathlib import Path

import pytest

from data_prepare.findings import KINDS, MAX_LISTED
from data_prepare.index import ROWS_NAME, TEXTS_NAME
from data_prepare.shard_walk import _SIZE_LIMITS
from data_prepare.shards import encode_pair
from data_prepare.verify import CorpusReport, _command, verify_corpus
from tests.unit.data_prepare.corpora import pair, write_split
from tests.unit.data_prepare.damage import (
    accept_files,
    change_index,
    change_rows,
    insert_at_end,
    member,
    offset_of,
    overwrite,
)

SECONDS = [[0.3, 0.1, 0.2], [], [0.4, 0.15]]
FIRST = "shard-000000.tar"


@pytest.fixture
def split(tmp_path: Path) -> Path:
    return write_split(tmp_path / "corpus" / "train", SECONDS)


@pytest.fixture
def corpus(split: Path) -> Path:
    """A corpus of one split, with what a preparer writes beside it."""
    figures = {"train": {"num_utterances": 5, "num_shards": 3}}
    (split.parent / "summary.json").write_text(json.dumps({"splits": figures}))
    for name in ("options.json", "rejected.jsonl", "summary.png"):
        (split.parent / name).write_text("{}")
    return split.parent


def found(report: CorpusReport) -> dict[str, list[str]]:
    return {kind: [str(f) for f in listed] for kind, listed in report.findings.listed.items()}


def test_verify_whole_corpus_finds_nothing(corpus):
    report = verify_corpus(corpus)
    assert not report.findings
    assert report.splits["train"]["num_utterances"] == 5
    assert "all is well" in report.describe()


@pytest.mark.multiproc
def test_verify_processes_find_the_same(corpus):
    overwrite(corpus / "train" / FIRST, 512 + 100, b"evil")
    assert found(verify_corpus(corpus, num_jobs=2)) == found(verify_corpus(corpus))


def test_verify_depths_see_more_and_more(split):
    overwrite(split / FIRST, 512 + 200, bytes(300))
    kinds = [set(found(verify_corpus(split, depth=d))) for d in ("quick", "content", "full")]
    assert kinds == [set(), {"shard_checksum"}, {"shard_checksum", "audio"}]


def test_verify_undecodable_audio_named_by_key_and_place(split):
    overwrite(split / FIRST, offset_of(split, 1) + 512 + 100, bytes(200))
    (line,) = found(verify_corpus(split))["audio"]
    assert line.startswith(f"train/{FIRST}, offset {offset_of(split, 1)}, utt-1: ")


def test_verify_shards_missing_short_and_no_file(split):
    (split / FIRST).unlink()
    (split / "shard-000001.tar").unlink()
    os.mkfifo(split / "shard-000001.tar")
    os.truncate(split / "shard-000002.tar", offset_of(split, 4) + 700)
    lines = found(verify_corpus(split))
    assert len(lines["missing_shard"]) == 2
    assert "the index says" in lines["shard_size"][0]
    assert {"shard_structure", "row"} <= set(lines)


@pytest.mark.parametrize(
    "data",
    [
        member("utt-9.pyd", pickle.dumps(print)),
        member("../utt-9.flac", b"x"),
        member("/etc/passwd", b"x"),
        member("pipe:touch x.json", b"{}"),
        member("link.flac", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        member("hard.flac", type=tarfile.LNKTYPE, linkname=FIRST),
        member("dir", type=tarfile.DIRTYPE),
        member("fifo.json", type=tarfile.FIFOTYPE),
    ],
)
def test_verify_foreign_member(split, data):
    insert_at_end(split / FIRST, data)
    accept_files(split)
    report = verify_corpus(split)
    assert dict(report.findings.counts) == {"foreign_member": 1}


def test_verify_unpaired_and_unnamed_members(split):
    insert_at_end(split / FIRST, member("alone.json", b"{}") + pair(7, 1600, {})[0])
    accept_files(split)
    lines = found(verify_corpus(split))
    assert "alone.json" in lines["unpaired_member"][0]
    assert any("utt-7: no row begins here" in line for line in lines["row"])


@pytest.mark.parametrize(
    ("change", "kind", "text"),
    [
        ({"text": None}, "member_json", "text is None"),
        ({"num_samples": True}, "member_json", "num_samples is True"),
        ({"id": "other"}, "member_json", "belongs to another key"),
        ({"rate_hz": 8000}, "member_json", "rate_hz is 8000"),
        ({"notes": [1]}, "member_json", "notes is [1]"),
        ({"text": "x"}, "text", "text 0"),
        ({"notes": {"end_s": 1}}, "text", "text 0"),
        ({"category": "noisy"}, "row", "category is 'clean', here 'noisy'"),
        ({"num_samples": 3}, "audio", "(16000, 1, 4800) Hz"),
    ],
)
def test_verify_member_unlike_index(tmp_path, change, kind, text):
    split = write_split(tmp_path / "train", [[0.3]], **change)
    assert any(text in line for line in found(verify_corpus(split))[kind])


@pytest.mark.parametrize("text", [b"[]", b"{", b"[" * 100_000, b'"\xff"'])
def test_verify_strange_json_is_found(tmp_path, text):
    split = write_split(tmp_path / "train", [[0.3]])
    insert_at_end(split / FIRST, member("k.flac", b"fLaC") + member("k.json", text))
    assert verify_corpus(split).findings.counts["member_json"] == 1


def test_verify_duplicate_keys_also_across_splits(split):
    write_split(split.parent / "valid", [[0.2, 0.3]])
    for depth in ("quick", "full"):
        lines = found(verify_corpus(split.parent, depth=depth))["duplicate_key"]
        assert [line.split(": ")[1] for line in lines] == [f"also in train/{FIRST}"] * 2
        assert "utt-0" in lines[0]


def test_verify_index_files_that_do_not_fit(split):
    change_rows(split, "offset", 1, 77)
    os.truncate(split / TEXTS_NAME, 10)
    lines = found(verify_corpus(split))
    assert len(lines["index_file"]) == 2
    accept_files(split)
    lines = found(verify_corpus(split))
    assert "0 lines for 5 utterances" in lines["index_file"][0]
    assert any("offset 77: the shard holds no such utterance" in line for line in lines["row"])


@pytest.mark.parametrize("column", ["num_bytes", "num_samples", "category"])
def test_verify_row_unlike_its_utterance(split, column):
    change_rows(split, column, 0, 1)
    accept_files(split)
    counts = verify_corpus(split).findings.counts
    assert counts["row"] or counts["index_file"]


def test_verify_damaged_index_still_checks_shards(split):
    change_index(split, num_samples=1)
    overwrite(split / FIRST, 0, b"evil")
    lines = found(verify_corpus(split))
    assert set(lines) == {"index", "shard_structure", "unpaired_member"}
    assert "that of its shards" in lines["index"][0]


def test_verify_damaged_header_rest_of_shard_is_checked(split):
    overwrite(split / FIRST, offset_of(split, 1), bytes(512))
    report = verify_corpus(split)
    assert report.findings.counts["row"] == 2  # that utterance, and the sum
    assert "hold no member" in found(report)["shard_structure"][0]


def test_verify_names_files_that_do_not_belong_there(corpus):
    names = ("notes.txt", "shard-000009.tar", "../evil.pt", f"{ROWS_NAME}.tmp-1")
    for name in names:
        (corpus / "train" / name).write_bytes(b"x")
    (corpus / "other").mkdir()
    (corpus / "train" / ".repair").mkdir()
    lines = found(verify_corpus(corpus))
    assert len(lines["foreign_file"]) == 4
    assert len(lines["leftover"]) == 2


def test_verify_unfinished_and_unlike_summary(corpus):
    (corpus / ".work" / "plan").mkdir(parents=True)
    figures = {"train": {"num_utterances": 6}, "valid": {}}
    (corpus / "summary.json").write_text(json.dumps({"splits": figures}))
    counts = verify_corpus(corpus).findings.counts
    assert counts == {"unfinished": 1, "summary": 1, "index": 1}


def test_verify_mixture_says_where_its_parts_are(corpus, tmp_path):
    (tmp_path / "mix" / "train").mkdir(parents=True)
    splits = {"a/train": {"folder": "../corpus/train"}}
    (tmp_path / "mix" / "summary.json").write_text(json.dumps({"splits": splits}))
    with pytest.raises(FileNotFoundError, match=f"a mixture of {corpus}"):
        verify_corpus(tmp_path / "mix")


def test_verify_many_findings_all_counted_few_listed(tmp_path):
    split = write_split(tmp_path / "train", [[0.05] * 30], text=None)
    report = verify_corpus(split, depth="content")
    assert report.findings.counts["member_json"] == 30
    assert len(report.findings.listed["member_json"]) == MAX_LISTED
    assert "and 10 more" in report.describe()
    assert set(report.findings.counts) <= set(KINDS)


def test_command_exit_codes_and_report(corpus, capsys, tmp_path):
    assert _command([str(corpus), "--no-progress"]) == 0
    assert json.loads((corpus / "verify.json").read_text())["is_whole"] is True
    (corpus / "train" / FIRST).unlink()
    assert _command([str(corpus), "--no-progress", "--depth", "quick"]) == 1
    content = json.loads((corpus / "verify.json").read_text())
    assert content["findings"]["counts"] == {"missing_shard": 1}
    assert f"train/{FIRST}: is not there" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        _command([str(tmp_path / "nothing")])
    assert ended.value.code == 2


def test_verify_memory_is_bounded_by_one_utterance(tmp_path, monkeypatch):
    monkeypatch.setitem(_SIZE_LIMITS, ".json", 1000)
    split = write_split(tmp_path / "train", [[0.3]])
    data = encode_pair("big", flac=b"fLaC", meta={"text": "x" * 2000})
    insert_at_end(split / FIRST, data)
    lines = found(verify_corpus(split))
    assert "expected at most 1000" in lines["foreign_member"][0]
