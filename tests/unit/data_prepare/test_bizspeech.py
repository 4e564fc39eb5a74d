import json
from collections import Counter

import pytest

from data_prepare.bizspeech import prepare_bizspeech
from data_prepare.index import ShardIndex
from tests.unit.data_prepare.raw_corpora import (
    leave_out_plot,
    rejected,
    texts,
    tone,
    write_audio,
    write_bizspeech,
    write_call,
    write_metadata,
)


@pytest.fixture(autouse=True)
def _no_plot(monkeypatch):
    leave_out_plot(monkeypatch)


ALL_TRAIN = {
    "train_share": 1.0, "valid_share": 0.0, "max_rejected_share": 1.0, "progress": False,
}  # fmt: skip


def prepare(raw, out, **options):
    """Return the rows of train, the rejections and the summary."""
    corpus = prepare_bizspeech(raw, out, **ALL_TRAIN | options)
    summary = json.loads((out / "summary.json").read_text())
    return texts(corpus.splits["train"]), rejected(out), summary


def test_bizspeech_fields_come_from_transcript_and_metadata(tmp_path):
    rows, reasons, _ = prepare(write_bizspeech(tmp_path / "raw", 3), tmp_path / "out")
    assert reasons == {}
    by_id = {row["id"]: row for row in rows}
    assert len(by_id) == 18
    assert by_id["e2-5"] == {
        "id": "e2-5",
        "key": "e2-5",
        "text": "Sentence number 5 of call e2.",
        "speaker": "s-e2-b",
        "category": "nonnative/q-and-a",
        "language": "en",
        "group": "e2",
    }
    assert by_id["e0-0"]["category"] == "native/presentation"


def test_bizspeech_row_ends_with_next_row_and_last_with_recording(tmp_path):
    raw = tmp_path / "raw"
    rows = [
        ("1", "First sentence here.", "00:00:00.5", "a", "presentation"),
        ("2", "Second sentence here.", "00:00:02.75", "a", "presentation"),
        ("3", "Third sentence here.", "00:00:05", "a", "q-and-a"),
    ]
    write_call(raw, "e0", rows=rows, num_rows=5, row_s=1.6)
    write_metadata(raw, {"e0": True})
    corpus = prepare_bizspeech(raw, tmp_path / "out", **ALL_TRAIN)
    index = ShardIndex.load(corpus.splits["train"])
    lengths = {
        t["id"]: n for t, n in zip(index.texts(), index.utterances["num_samples"], strict=True)
    }
    assert lengths == {"e0-1": 2.25 * 16000, "e0-2": 2.25 * 16000, "e0-3": 3.0 * 16000}


def test_bizspeech_dirty_rows_are_rejected_with_reason(tmp_path):
    raw = tmp_path / "raw"
    texts_and_times = [
        ("Good morning to you all.", "00:00:00"),
        ("(Operator Instructions)", "00:00:02"),
        ("", "00:00:04"),
        ("The clock of the next one broke.", "00:00:06"),
        ("Here the clock is broken.", "00:00:0x"),
        ("This is fine, 'quotes\" and #.", "00:00:10"),
        ("Time goes back after this.", "00:00:12"),
        ("Time went back here.", "00:00:01"),
        ("This one is fine again.", "00:00:16"),
        ("Too short.", "00:00:18"),
        ("Another session name.", "00:00:18.3"),
        ("The recording ends within.", "00:00:20"),
        ("The recording has ended.", "00:00:23"),
        ("Two rows claim this place.", "00:00:25"),
        ("Both begin here.", "00:00:25"),
    ]
    rows = [
        (str(n), text, time, "a", "break" if "session" in text else "q-and-a")
        for n, (text, time) in enumerate(texts_and_times)
    ]
    rows += [("0", "An id for the second time.", "00:00:27", "a", "q-and-a")]
    write_call(raw, "e0", rows=rows, num_rows=11, row_s=2.0)
    write_metadata(raw, {"e0": True})
    kept, reasons, summary = prepare(raw, tmp_path / "out")
    assert {row["id"] for row in kept} == {"e0-0", "e0-5", "e0-8"}
    assert reasons == {
        "e0-0": "duplicate_id",
        "e0-1": "text_reject",
        "e0-2": "empty_text",
        "e0-3": "unknown_end",
        "e0-4": "broken_clock",
        "e0-6": "unknown_end",
        "e0-7": "time_runs_backwards",
        "e0-9": "too_short",
        "e0-10": "unknown_session",
        "e0-11": "beyond_recording",
        "e0-12": "beyond_recording",
        "e0-13": "shared_start",
        "e0-14": "shared_start",
    }
    assert sum(summary["rejected"].values()) + 3 == len(rows)


def test_bizspeech_broken_calls_are_rejected_with_reason(tmp_path):
    raw = write_bizspeech(tmp_path / "raw", 6)
    (raw / "e0/recording.wav").unlink()
    (raw / "e1/transcript_timealigned.txt").unlink()
    (raw / "e2/transcript_timealigned.txt").write_text("no\theader\n")
    (raw / "e3/recording.wav").write_bytes(b"RIFF")
    write_call(raw, "unknown-event")
    (raw / "notes").mkdir()
    rows, reasons, summary = prepare(raw, tmp_path / "out")
    assert {row["group"] for row in rows} == {"e4", "e5"}
    assert reasons.pop("e1") == "missing_transcript"
    assert reasons.pop("e2") == "bad_transcript"
    assert Counter(reasons.values()) == {
        "missing_recording": 6, "undecodable": 6, "not_in_metadata": 6,
    }  # fmt: skip
    assert sum(summary["rejected"].values()) == 20


def test_bizspeech_overhang_within_limit_is_cut_off(tmp_path):
    raw = write_bizspeech(tmp_path / "raw", 1)
    write_audio(raw / "e0/recording.wav", tone(7.45))  # the row before the last ends at 7.5 s
    rows, reasons, _ = prepare(raw, tmp_path / "out")
    assert len(rows) == 5
    assert reasons == {"e0-5": "beyond_recording"}
    _, reasons, _ = prepare(raw, tmp_path / "strict", max_overhang_s=0.01)
    assert reasons == {"e0-4": "beyond_recording", "e0-5": "beyond_recording"}


@pytest.mark.parametrize("kind", ["wav", "mp3", "flac", "ogg"])
@pytest.mark.parametrize("rate_hz", [8000, 32000])
def test_bizspeech_any_recording_becomes_16_khz_mono(tmp_path, kind, rate_hz):
    raw = write_bizspeech(tmp_path / "raw", 2, kind=kind, rate_hz=rate_hz, channels=2)
    corpus = prepare_bizspeech(raw, tmp_path / "out", **ALL_TRAIN)
    index = ShardIndex.load(corpus.splits["train"])
    assert index.rate_hz == 16000
    assert set(index.utterances["num_samples"].tolist()) == {24000}


def test_bizspeech_audio_types_first_one_wins(tmp_path):
    raw = write_bizspeech(tmp_path / "raw", 1)
    write_audio(raw / "e0/recording.mp3", tone(4.0))
    rows, _, _ = prepare(raw, tmp_path / "out", audio_types=("mp3", "wav"))
    assert len(rows) == 2


def test_bizspeech_ceo_only_keeps_the_ceo(tmp_path):
    raw = write_bizspeech(tmp_path / "raw", 2)
    write_metadata(raw, {"e0": True, "e1": True}, ceos={"e0": "s-e0-b", "e1": "elsewhere"})
    rows, reasons, summary = prepare(raw, tmp_path / "out", ceo_only=True)
    assert {row["speaker"] for row in rows} == {"s-e0-b"}
    assert set(reasons.values()) == {"not_ceo"}
    assert (summary["left_out"], summary["rejected"]) == ({"not_ceo": 9}, {})


@pytest.fixture
def lists(tmp_path):
    path = tmp_path / "lists.json"
    path.write_text(json.dumps({"good": ["e1", "e2", "gone"], "bad": ["e2"], "poor": ["e3"]}))
    return path


def test_bizspeech_include_and_exclude_lists(tmp_path, lists):
    raw = write_bizspeech(tmp_path / "raw", 5)
    rows, reasons, _ = prepare(
        raw,
        tmp_path / "out",
        include_file=lists,
        include_keys=["good"],
        exclude_files=[lists],
        exclude_keys=["bad"],
    )
    assert {row["group"] for row in rows} == {"e1"}
    assert reasons == {
        "e0": "excluded_event", "e2": "excluded_event", "e3": "excluded_event",
        "e4": "excluded_event", "gone": "missing_transcript",
    }  # fmt: skip


def test_bizspeech_include_not_strict_others_fill_up(tmp_path, lists):
    raw = write_bizspeech(tmp_path / "raw", 6)
    rows, reasons, _ = prepare(
        raw,
        tmp_path / "out",
        include_file=lists,
        include_keys=["good"],
        strict_include=False,
        hours_wanted=27 / 3600,
    )
    groups = Counter(row["group"] for row in rows)
    assert groups["e1"] == groups["e2"] == 6
    assert sum(groups.values()) == 18
    assert Counter(reasons.values()) == {"missing_transcript": 1, "not_needed": 3}


def test_bizspeech_list_unknown_key_raises(tmp_path, lists):
    raw = write_bizspeech(tmp_path / "raw", 2)
    with pytest.raises(ValueError, match=r"no list \['best'\].*'bad', 'good', 'poor'"):
        prepare(raw, tmp_path / "out", include_file=lists, include_keys=["best"])


def test_bizspeech_shares_are_kept_and_shortage_is_told(tmp_path):
    raw = write_bizspeech(tmp_path / "raw", 9)  # 6 of 9 native, half of each call q-and-a
    _, reasons, summary = prepare(
        raw, tmp_path / "out", hours_wanted=40 / 3600, nonnative_share=0.5, qna_share=0.25
    )
    hours = {n: c["hours"] for n, c in summary["splits"]["train"]["by_category"].items()}
    assert {name: round(h * 3600, 1) for name, h in hours.items()} == {
        "native/presentation": 15.0,
        "native/q-and-a": 6.0,  # 5 s wanted; utterances are whole
        "nonnative/presentation": 13.5,
        "nonnative/q-and-a": 6.0,
    }
    assert summary["notes"] == [
        "ran out: nonnative/presentation: 0.0037 h found, 0.0042 h wanted",
    ]
    assert set(reasons.values()) == {"hours_limit"}


def test_bizspeech_split_by_call_keeps_calls_and_speakers_apart(tmp_path):
    raw = write_bizspeech(tmp_path / "raw", 12)
    for number in (3, 7):
        write_call(raw, f"e{number}", speakers=("the-same-ceo", "Operator"))
    options = {"train_share": 0.6, "valid_share": 0.2, "progress": False}
    corpus = prepare_bizspeech(raw, tmp_path / "out", **options)
    groups, speakers = (
        {split: {row[name] for row in texts(folder)} for split, folder in corpus.splits.items()}
        for name in ("group", "speaker")
    )
    for names in (groups, speakers):
        assert sum(map(len, names.values())) == len(set().union(*names.values()))
    assert sum(map(len, groups.values())) == 12
    assert len({split for split in groups if groups[split] & {"e3", "e7"}}) == 1
    assert {"e3/Operator", "e7/Operator"} <= set().union(*speakers.values())
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["speakers_in_two_splits"] == 0


def test_bizspeech_split_by_utterance_cuts_calls(tmp_path):
    raw = write_bizspeech(tmp_path / "raw", 6, num_rows=20)
    options = {"train_share": 0.5, "valid_share": 0.25, "split_by": "utterance", "progress": False}
    corpus = prepare_bizspeech(raw, tmp_path / "out", **options)
    counts = {split: len(texts(folder)) for split, folder in corpus.splits.items()}
    assert sum(counts.values()) == 120
    assert 45 <= counts["train"] <= 75
    assert len({row["group"] for row in texts(corpus.splits["valid"])}) > 3


def test_bizspeech_seed_decides_splits(tmp_path):
    raw = write_bizspeech(tmp_path / "raw", 12)
    options = {"train_share": 0.6, "valid_share": 0.2, "progress": False}
    train = []
    for number, seed in enumerate((1, 1, 2)):
        corpus = prepare_bizspeech(raw, tmp_path / f"o{number}", seed=seed, **options)
        train.append({row["group"] for row in texts(corpus.splits["train"])})
    assert train[0] == train[1] != train[2]


def test_bizspeech_missing_things_raise(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        prepare_bizspeech(tmp_path / "none", tmp_path / "out")
    (tmp_path / "raw" / "e0").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"BizSpeech_MetaData\.json"):
        prepare_bizspeech(tmp_path / "raw", tmp_path / "out")
    write_metadata(tmp_path / "raw", {"e0": True})
    with pytest.raises(FileNotFoundError, match="no transcript found"):
        prepare_bizspeech(tmp_path / "raw", tmp_path / "out")
    (tmp_path / "raw" / "BizSpeech_MetaData.json").write_text("{")
    with pytest.raises(ValueError, match="is not JSON"):
        prepare_bizspeech(tmp_path / "raw", tmp_path / "out")
    assert not (tmp_path / "out").exists()
