"""MuST-C from both of its trees, on tones: ids, times, filters, notes, faults."""

import json
import shutil

import pytest
import yaml

from data_prepare.command_line import run_command
from data_prepare.index import ShardIndex
from data_prepare.manifest import prepare_manifest
from data_prepare.mustc import prepare_mustc
from data_prepare.mustc_manifest import write_manifest
from data_prepare.mustc_source import num_frames
from data_prepare.stream import ShardLoader
from tests.unit.data_prepare.raw_corpora import (
    leave_out_plot,
    rejected,
    texts,
    tone,
    write_audio,
)

QUIET = {"progress": False}
ID = "tst-COMMON_ted_1_0"
SEGMENTS = {
    "train": [  # wav, offset, duration, English, German; not in the order of offsets
        ("ted_1.wav", 1.5, 0.5, "The second one.", "Der zweite Satz."),
        ("ted_2.wav", 0.1, 0.4, "Another talk (Laughter)", "Ein anderer Vortrag"),
        ("ted_1.wav", 0.25, 1.0, "It's the first\\one!", "Dies war der\terste \\ Satz!"),
    ],
    "dev": [("ted_3.wav", 0.0, 0.04, "Short.", "")],
    "tst-COMMON": [
        ("ted_4.wav", 0.2, 0.6, "To test.", "Zum Testen."),
        ("ted_5.wav", 0, 1, "B", "B"),
    ],
    "tst-HE": [("ted_4.wav", 0.2, 0.6, "To test.", "Zum Testen.")],
}


@pytest.fixture(autouse=True)
def _no_plot(monkeypatch):
    leave_out_plot(monkeypatch)


def write_mustc(root, segments=SEGMENTS, *, flat=False, language="de"):
    for split, rows in segments.items():
        texts_at = root if flat else root / "data" / split / "txt"
        wavs = root / "wav" if flat else root / "data" / split / "wav"
        texts_at.mkdir(parents=True, exist_ok=True)
        items = [
            {"duration": d, "offset": o, "speaker_id": f"spk.{wav[4]}", "wav": wav}
            for wav, o, d, _, _ in rows
        ]
        (texts_at / f"{split}.yaml").write_text(yaml.safe_dump(items, default_flow_style=True))
        for end, place in (("en", 3), (language, 4)):
            (texts_at / f"{split}.{end}").write_text("".join(f"{row[place]}\n" for row in rows))
        for number, wav in enumerate({row[0] for row in rows}):
            write_audio(wavs / wav, tone(2.5, pitch_hz=200 + number))
    return root


@pytest.mark.parametrize("flat", [False, True])
def test_mustc_both_trees_give_the_same(tmp_path, flat):
    corpus = prepare_mustc(write_mustc(tmp_path / "en-de", flat=flat), tmp_path / "out", **QUIET)
    assert set(corpus.splits) == {"train", "valid", "test", "tst-HE"}
    rows = {row["id"]: row for row in texts(corpus.splits["train"])}
    assert set(rows) == {"ted_1_0", "ted_1_1", "ted_2_0"}
    assert rows["ted_1_0"] == {
        "id": "ted_1_0", "key": "ted_1_0", "text": "Dies war der erste \\ Satz!",
        "speaker": "spk.1", "category": "", "language": "de", "group": "ted_1",
        "notes": {"source": "its the firstone", "source_language": "en"},
    }  # fmt: skip
    assert rows["ted_2_0"]["notes"]["source"] == "another talk"
    test_ids = [row["id"] for split in ("test", "tst-HE") for row in texts(corpus.splits[split])]
    assert sorted(test_ids) == ["ted_5_0", "tst-COMMON_ted_4_0", "tst-HE_ted_4_0"]


def test_mustc_segments_are_cut_in_whole_samples(tmp_path):
    corpus = prepare_mustc(write_mustc(tmp_path / "en-de"), tmp_path / "out", **QUIET)
    index = ShardIndex.load(corpus.splits["train"])
    lengths = dict(
        zip((r["id"] for r in index.texts()), index.utterances["num_samples"].tolist(), strict=True)
    )
    assert lengths == {"ted_1_0": 16000, "ted_1_1": 8000, "ted_2_0": 6400}


@pytest.mark.parametrize(
    ("num_samples", "frames"), [(400, 1), (16000, 98), (160000, 998), (480000, 2998), (399, 0)]
)
def test_num_frames_are_those_of_kaldi(num_samples, frames):
    assert num_frames(num_samples / 16000) == frames == max(0, 1 + (num_samples - 400) // 160)


def test_mustc_only_training_is_filtered(tmp_path):
    rows = [
        ("ted_1.wav", 0.0, 0.05, "too short", "zu kurz"),
        ("ted_1.wav", 0.5, 1.0, "empty", ""),
        ("ted_1.wav", 1.5, 0.9, "kept", "bleibt"),
        ("ted_1.wav", 0.1, 2.3, "too long", "zu lang"),
        ("ted_1.wav", 9.0, 0.5, "beyond", "dahinter"),
    ]
    raw = write_mustc(tmp_path / "en-de", {"train": rows, "dev": SEGMENTS["dev"]})
    options = {"max_frames": 200, "max_rejected_share": 0.9}
    corpus = prepare_mustc(raw, tmp_path / "out", **options, **QUIET)
    assert [row["text"] for row in texts(corpus.splits["train"])] == ["bleibt"]
    assert [row["text"] for row in texts(corpus.splits["valid"])] == [""]
    assert rejected(tmp_path / "out") == {
        "ted_1_0": "too_few_frames", "ted_1_1": "too_many_frames", "ted_1_2": "empty_target",
        "ted_1_4": "beyond_recording",
    }  # fmt: skip


def test_mustc_char_ratio_is_strict_and_told(tmp_path, caplog):
    pairs = [("a" * 10, "b" * n) for n in (8, 9, 15, 16)] + [("(Laughter)", "x")]
    rows = [("ted_1.wav", n / 10, 0.1, *pair) for n, pair in enumerate(pairs)]
    rows += [("ted_2.wav", 0.0, 1.0, "dev is kept", "x")]
    raw = write_mustc(tmp_path / "en-de", {"train": rows[:-1], "dev": rows[-1:]})
    with caplog.at_level("INFO"):
        corpus = prepare_mustc(
            raw, tmp_path / "out", min_char_ratio=0.8, max_char_ratio=1.6, **QUIET
        )
    assert sorted(len(row["text"]) for row in texts(corpus.splits["train"])) == [9, 15]
    assert len(texts(corpus.splits["valid"])) == 1
    assert set(rejected(tmp_path / "out").values()) == {"char_ratio"}
    assert "0.8 to 0.9        1" in caplog.text
    assert "no transcript" in caplog.text


def test_mustc_manifest_and_shards_agree(tmp_path):
    raw = write_mustc(tmp_path / "en-de")
    options = {"origin": "human", "source_form": "fbk"}
    direct = prepare_mustc(raw, tmp_path / "direct", **options, **QUIET)
    manifest = tmp_path / "manifest.jsonl"
    words = [word for key, value in options.items() for word in (f"--{key}", value)]
    assert run_command(write_manifest, [str(raw), str(manifest), *words]) == 0
    lines = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    assert {line["n_frames"] for line in lines} >= {98, 48}
    keep = ["source", "source_language", "origin"]
    other = {"min_duration_s": 0.0, "allow_empty_text": True, "max_chars_per_s": 99.0}
    through = prepare_manifest(manifest, tmp_path / "through", keep=keep, **other, **QUIET)
    for split, folder in direct.splits.items():
        one, two = (
            sorted(texts(f), key=lambda row: row["id"]) for f in (folder, through.splits[split])
        )
        assert one == two


def lines_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_mustc_manifest_training_recordings_absent_stops(tmp_path):
    raw = write_mustc(tmp_path / "en-de")
    shutil.rmtree(raw / "data/train/wav")
    path = tmp_path / "m.jsonl"
    with pytest.raises(ValueError, match=r"3 of 7 utterances .* missing_recording 3;"):
        write_manifest(raw, path)
    assert not path.exists()
    assert {line["reason"] for line in lines_of(tmp_path / "m.rejected.jsonl")} == {
        "missing_recording"
    }
    write_manifest(raw, path, max_rejected_share=0.5)
    assert {line["split"] for line in lines_of(path)} == {"valid", "test", "tst-HE"}


def test_mustc_manifest_counts_what_is_left_out_by_reason(tmp_path, caplog):
    raw = write_mustc(tmp_path / "en-de")
    with caplog.at_level("INFO"):
        write_manifest(raw, tmp_path / "m.jsonl", max_frames=90)
    assert "6 utterances; rejected: {}; left out: {'too_many_frames': 1}" in caplog.text


@pytest.mark.parametrize("overhang_s", [0.05, 0.2])
def test_mustc_overhang_is_cut_where_a_split_is_scored(tmp_path, overhang_s):
    rows = [("ted_1.wav", 2.0, 0.5 + overhang_s, "to the close", "bis zum Schluss")]
    raw = write_mustc(tmp_path / "en-de", {"train": SEGMENTS["train"], "tst-COMMON": rows})
    (line,) = [u for u in lines_of(write_manifest(raw, tmp_path / "m.jsonl")) if u["id"] == ID]
    assert (line["start"], line["end"], line["n_frames"]) == (2.0, 2.5, 48)
    corpus = prepare_mustc(raw, tmp_path / "out", **QUIET)
    assert ShardIndex.load(corpus.splits["test"]).utterances["num_samples"].tolist() == [8000]


def test_mustc_overhang_in_training_is_rejected(tmp_path):
    rows = [*SEGMENTS["train"], ("ted_1.wav", 2.0, 0.7, "beyond", "dahinter")]
    raw = write_mustc(tmp_path / "en-de", SEGMENTS | {"train": rows})
    prepare_mustc(raw, tmp_path / "out", **QUIET)
    assert rejected(tmp_path / "out") == {"ted_1_2": "beyond_recording"}


def test_mustc_scored_split_that_loses_segments_is_an_error(tmp_path):
    rows = [*SEGMENTS["tst-COMMON"], ("ted_5.wav", 2.5, 0.5, "beyond", "dahinter")]
    raw = write_mustc(tmp_path / "en-de", SEGMENTS | {"tst-COMMON": rows})
    (raw / "data/dev/wav/ted_3.wav").unlink()
    fault = r"2 of 5 segments of dev, tst-COMMON, tst-HE .*missing_recording 1, beyond_recording 1"
    with pytest.raises(ValueError, match=fault):
        write_manifest(raw, tmp_path / "m.jsonl")
    with pytest.raises(ValueError, match=fault):
        prepare_mustc(raw, tmp_path / "out", **QUIET)
    options = {"allow_incomplete": True, "max_rejected_share": 0.5}
    assert len(lines_of(write_manifest(raw, tmp_path / "m.jsonl", **options))) == 6
    corpus = prepare_mustc(raw, tmp_path / "out", **options, **QUIET)
    assert prepare_mustc(raw, tmp_path / "out", **QUIET).splits == corpus.splits


def test_mustc_notes_reach_the_batch(tmp_path):
    corpus = prepare_mustc(
        write_mustc(tmp_path / "en-de"), tmp_path / "out", origin="human", **QUIET
    )
    batch = next(iter(ShardLoader(corpus.splits["train"], max_batch_s=10.0)))
    assert [notes["origin"] for notes in batch.notes] == ["human"] * 3
    assert batch.language == ["de"] * 3


def test_mustc_unequal_lists_are_an_error(tmp_path):
    raw = write_mustc(tmp_path / "en-de")
    with (raw / "data/train/txt/train.de").open("a") as file:
        file.write("One too many.\n")
    with pytest.raises(ValueError, match=r"has 3 segments, but .*'train.de': 4"):
        prepare_mustc(raw, tmp_path / "out", **QUIET)


def test_mustc_broken_segments_are_named_at_once(tmp_path):
    raw = write_mustc(tmp_path / "en-de")
    path = raw / "data/train/txt/train.yaml"
    path.write_text("- {wav: a.wav, offset: x, duration: 1}\n- {wav: a.wav}\n- hello\n")
    with pytest.raises(ValueError, match=r"3 broken: segment 1 .*segment 2 .*segment 3 is hello"):
        prepare_mustc(raw, tmp_path / "out", **QUIET)


def test_mustc_several_languages_must_be_chosen(tmp_path):
    raw = write_mustc(write_mustc(tmp_path / "flat", flat=True), flat=True, language="fr")
    with pytest.raises(ValueError, match=r"dev.de, dev.fr; expected one language"):
        prepare_mustc(raw, tmp_path / "out", **QUIET)
    corpus = prepare_mustc(raw, tmp_path / "out", language="fr", splits=["dev"], **QUIET)
    assert texts(corpus.splits["valid"])[0]["language"] == "fr"


def test_mustc_nothing_there_or_split_absent_raises(tmp_path):
    with pytest.raises(FileNotFoundError, match="lacks splits; expected data/"):
        prepare_mustc(tmp_path, tmp_path / "out", **QUIET)
    raw = write_mustc(tmp_path / "en-de")
    with pytest.raises(FileNotFoundError, match=r"lacks train_2.*found \['dev', 'train'"):
        prepare_mustc(raw, tmp_path / "out", splits=["train_2"], **QUIET)


def test_mustc_wrong_options_are_named_at_once(tmp_path):
    options = {"min_char_ratio": 2.0, "max_char_ratio": 1.0, "min_frames": 0}
    with pytest.raises(ValueError, match=r"max_char_ratio must be > .*min_frames must be > 0"):
        prepare_mustc(tmp_path, tmp_path / "out", **options)
