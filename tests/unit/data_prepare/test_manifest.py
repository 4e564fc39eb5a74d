import csv
import json

import pytest

from data_prepare.index import ShardIndex
from data_prepare.manifest import prepare_manifest
from data_prepare.reading import ShardReader
from data_prepare.verify import verify_corpus
from tests.unit.data_prepare.raw_corpora import (
    leave_out_plot,
    rejected,
    texts,
    tone,
    write_audio,
    write_manifest,
)


@pytest.fixture(autouse=True)
def _no_plot(monkeypatch):
    leave_out_plot(monkeypatch)


QUIET = {"progress": False}


def write_lines(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def write_table(path, records, *, delimiter=",", encoding="utf-8"):
    names = list(dict.fromkeys(name for record in records for name in record))
    with path.open("w", newline="", encoding=encoding) as file:
        table = csv.DictWriter(file, names, delimiter=delimiter)
        table.writeheader()
        table.writerows(records)
    return path


def records_of(manifest):
    return [json.loads(line) for line in manifest.read_text().splitlines()]


def test_manifest_fields_and_renamed_splits(tmp_path):
    fields = {"split": "dev", "category": "clean", "language": "fi", "group": "g1"}
    manifest = write_manifest(tmp_path / "raw", 3, **fields)
    corpus = prepare_manifest(manifest, tmp_path / "out", rename_splits={"dev": "valid"}, **QUIET)
    assert list(corpus.splits) == ["valid"]
    rows = {row["id"]: row for row in texts(corpus.splits["valid"])}
    assert rows["u1"] == {
        "id": "u1",
        "key": "u1",
        "text": "text 1",
        "speaker": "s1",
        "category": "clean",
        "language": "fi",
        "group": "g1",
    }


def test_manifest_kept_fields_become_notes(tmp_path):
    manifest = write_manifest(tmp_path / "raw", 3, split="train")
    ends = [[0.25, 0.5], [], None]
    records = [r | {"ends": e, "x": 1} for r, e in zip(records_of(manifest), ends, strict=True)]
    write_lines(manifest, records)
    corpus = prepare_manifest(manifest, tmp_path / "out", keep=["ends"], **QUIET)
    folder = corpus.splits["train"]
    rows = {row["id"]: row.get("notes") for row in texts(folder)}
    assert rows == {"u0": {"ends": [0.25, 0.5]}, "u1": {"ends": []}, "u2": None}
    index = ShardIndex.load(folder)
    found = ShardReader(index).read(index.utterances)
    assert {meta["id"]: meta.get("notes") for meta in found.metas} == rows
    assert not verify_corpus(tmp_path / "out").findings.counts


def test_manifest_without_keep_is_found_finished_after_the_option_came(tmp_path):
    manifest = write_manifest(tmp_path / "raw", 3, split="train")
    prepare_manifest(manifest, tmp_path / "out", **QUIET)
    assert "keep" not in json.loads((tmp_path / "out" / "options.json").read_text())["options"]


def test_manifest_kept_field_of_no_record_or_no_json_is_a_fault(tmp_path):
    manifest = write_manifest(tmp_path / "raw", 2, split="train", ends=float("nan"))
    with pytest.raises(ValueError, match=r"3 fault.*ends is nan, not plain.*no record has 'ned'"):
        prepare_manifest(manifest, tmp_path / "out", keep=["ends", "ned"], **QUIET)


@pytest.mark.parametrize(("name", "delimiter"), [("m.csv", ","), ("m.tsv", "\t")])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_manifest_table_gives_the_same_as_lines(tmp_path, name, delimiter, encoding):
    manifest = write_manifest(tmp_path / "raw", 4, split="train")
    records = records_of(manifest)
    records[1]["text"] = 'with, "quotes"\nand a line end\tand a tab'
    write_lines(manifest, records)
    table = write_table(manifest.with_name(name), records, delimiter=delimiter, encoding=encoding)
    options = {"max_chars_per_s": 200.0, "progress": False}
    lines = prepare_manifest(manifest, tmp_path / "one", **options)
    cells = prepare_manifest(table, tmp_path / "two", **options)
    assert texts(lines.splits["train"]) == texts(cells.splits["train"])
    assert 'with, "quotes" and a line end and a tab' in {
        r["text"] for r in texts(cells.splits["train"])
    }


def test_manifest_start_and_end_cut_a_long_recording(tmp_path):
    write_audio(tmp_path / "long.flac", tone(6.0))
    records = [
        {
            "id": f"u{n}",
            "path": "long.flac",
            "text": f"text {n}",
            "start": 2 * n,
            "end": 2 * n + 1.5,
        }
        for n in range(3)
    ]
    del records[2]["end"]
    corpus = prepare_manifest(
        write_table(tmp_path / "m.csv", records), tmp_path / "out",
        train_share=1.0, valid_share=0.0, **QUIET,
    )  # fmt: skip
    index = ShardIndex.load(corpus.splits["train"])
    seconds = {
        t["id"]: n / 16000
        for t, n in zip(index.texts(), index.utterances["num_samples"], strict=True)
    }
    assert seconds == {"u0": 1.5, "u1": 1.5, "u2": 2.0}


def test_manifest_other_names_are_mapped(tmp_path):
    manifest = write_manifest(tmp_path / "raw", 2, split="train")
    records = [{"wav": r.pop("path"), "sentence": r.pop("text"), **r} for r in records_of(manifest)]
    write_lines(manifest, records)
    columns = {"path": "wav", "text": "sentence"}
    corpus = prepare_manifest(manifest, tmp_path / "out", columns=columns, **QUIET)
    assert {row["text"] for row in texts(corpus.splits["train"])} == {"text 0", "text 1"}


def test_manifest_absolute_paths_are_taken(tmp_path):
    manifest = write_manifest(tmp_path / "raw", 2, split="train")
    records = [r | {"path": str(tmp_path / "raw" / r["path"])} for r in records_of(manifest)]
    (tmp_path / "elsewhere").mkdir()
    manifest = write_lines(tmp_path / "elsewhere" / "m.jsonl", records)
    corpus = prepare_manifest(manifest, tmp_path / "out", **QUIET)
    assert len(texts(corpus.splits["train"])) == 2


def test_manifest_without_splits_is_divided_by_speaker(tmp_path):
    manifest = write_manifest(tmp_path / "raw", 20)
    records = [r | {"speaker": f"s{n % 10}"} for n, r in enumerate(records_of(manifest))]
    write_lines(manifest, records)
    options = {"train_share": 0.6, "valid_share": 0.2}
    corpus = prepare_manifest(manifest, tmp_path / "out", **options, **QUIET)
    speakers = {s: {r["speaker"] for r in texts(folder)} for s, folder in corpus.splits.items()}
    assert sum(map(len, speakers.values())) == 10
    assert {len(names) for names in speakers.values()} == {6, 2}


def test_manifest_where_takes_some_records(tmp_path):
    manifest = write_manifest(tmp_path / "raw", 6, split="train")
    records = records_of(manifest)
    for number, record in enumerate(records):
        record |= {"task": ("asr", "digit", None)[number % 3], "source": f"AN4 ({number})"}
    del records[5]["path"]  # records that are not taken need not be right
    write_lines(manifest, records)
    for where, expected in (
        ({"task": "asr"}, {"u0", "u3"}),
        ({"task": "asr|digit", "source": "an4*"}, {"u0", "u1", "u3", "u4"}),
        ({"task": ""}, {"u2"}),
    ):
        out = tmp_path / "-".join(where.values()).replace("|", "").replace("*", "x")
        options = {"where": where if where["task"] else {"task": "", "source": "*(2)"}}
        corpus = prepare_manifest(manifest, out / "out", **options, **QUIET)
        assert {row["id"] for row in texts(corpus.splits["train"])} == expected


def test_manifest_where_matches_nothing_tells_what_is_there(tmp_path):
    manifest = write_manifest(tmp_path / "raw", 2, split="train", source="AN4 (CMU)")
    with pytest.raises(ValueError, match=r"where=\{'source': 'an4'\}; found source='AN4 \(CMU\)'"):
        prepare_manifest(manifest, tmp_path / "out", where={"source": "an4"})


def test_manifest_all_faults_are_told_with_their_lines(tmp_path):
    good = {"id": "a", "path": "a.wav", "text": "x", "split": "train"}
    lines = [
        json.dumps(good),
        "{broken",
        json.dumps(good | {"text": "other"}),
        json.dumps({"id": "b", "split": "train"}),
        json.dumps(good | {"id": "c", "start": "soon"}),
        json.dumps(good | {"id": "d", "start": 5, "end": 4}),
        "[1]",
        json.dumps({k: v for k, v in good.items() if k != "split"} | {"id": "e"}),
    ]
    (tmp_path / "m.jsonl").write_text("\n".join(lines))
    with pytest.raises(ValueError, match="has 7 fault") as caught:
        prepare_manifest(tmp_path / "m.jsonl", tmp_path / "out")
    for part in (
        "line 2: not JSON",
        "line 3: id 'a' occurs in line 1 too",
        "line 4: lacks path, text",
        "line 5: start is 'soon', not a number",
        "line 6: start 5.0 and end 4.0",
        "line 7: not a JSON object",
        "1 of 6 records have no split",
    ):
        assert part in str(caught.value)


def test_manifest_many_faults_first_twenty_are_listed(tmp_path):
    (tmp_path / "m.jsonl").write_text("{\n" * 50)
    with pytest.raises(ValueError, match="has 50 fault.s., the first 20: line 1: ") as caught:
        prepare_manifest(tmp_path / "m.jsonl", tmp_path / "out")
    assert "line 20:" in str(caught.value)
    assert "line 21:" not in str(caught.value)


def test_manifest_broken_table_is_told(tmp_path):
    (tmp_path / "m.csv").write_bytes(b"id,path,text\na,b\nc,d,caf\xe9\n")
    with pytest.raises(ValueError, match="2 columns, header has 3") as caught:
        prepare_manifest(tmp_path / "m.csv", tmp_path / "out")
    assert "line 3: not UTF-8" in str(caught.value)


def test_manifest_missing_or_of_other_kind_raises(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file"):
        prepare_manifest(tmp_path / "none.jsonl", tmp_path / "out")
    (tmp_path / "m.xlsx").write_text("")
    with pytest.raises(ValueError, match=r"ends with none of \.csv, \.json"):
        prepare_manifest(tmp_path / "m.xlsx", tmp_path / "out")


def test_manifest_unknown_column_raises(tmp_path):
    with pytest.raises(ValueError, match="columns maps 'words', which is none of id, path"):
        prepare_manifest(tmp_path / "m.jsonl", tmp_path / "out", columns={"words": "text"})


def test_manifest_empty_text_is_kept_if_allowed(tmp_path):
    manifest = write_manifest(tmp_path / "raw", 4, split="train")
    records = records_of(manifest)
    records[2]["text"] = None
    records[3]["text"] = ""
    write_lines(manifest, records)
    options = {"max_rejected_share": 0.5, "progress": False}
    with pytest.raises(ValueError, match="lacks text"):
        prepare_manifest(manifest, tmp_path / "a", **options)
    records[2]["text"] = " "
    write_lines(manifest, records)
    prepare_manifest(manifest, tmp_path / "b", **options)
    assert rejected(tmp_path / "b") == {"u2": "empty_text", "u3": "empty_text"}
    corpus = prepare_manifest(manifest, tmp_path / "c", allow_empty_text=True, **options)
    assert len(texts(corpus.splits["train"])) == 4


def test_manifest_an4_real_recordings(tmp_path, shared_data):
    corpus = prepare_manifest(
        shared_data / "manifest.jsonl",
        tmp_path / "out",
        where={"task": "asr", "source": "an4*"},
        rename_splits={"dev": "valid"},
        **QUIET,
    )
    indexes = {s: ShardIndex.load(folder, check="full") for s, folder in corpus.splits.items()}
    counts = {split: index.num_utterances for split, index in indexes.items()}
    assert counts == {"train": 506, "valid": 63, "test": 61}
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert (summary["rejected"], summary["speakers_in_two_splits"]) == ({}, 0)
    minutes = sum(index.num_samples for index in indexes.values()) / 16000 / 60
    assert minutes == pytest.approx(28.3, abs=0.1)
