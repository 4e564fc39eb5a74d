import pytest

from data_prepare import spgispeech
from data_prepare.spgispeech import prepare_spgispeech
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


HEADER = "wav_filename|wav_filesize|transcript"
QUIET = {"progress": False}


def write_spgispeech(folder, *, calls=("aa", "bb"), num=3, end="\n"):
    for name in ("train", "val"):
        lines = [HEADER]
        for call in calls:
            for number in range(1, num + 1):
                path = folder / name / f"{name}{call}" / f"{number}.wav"
                write_audio(path, tone(1.5, pitch_hz=200 + number))
                text = f"In {call}, we grew 5% | maybe “more” in {number}."
                lines.append(f"{name}{call}/{number}.wav|{path.stat().st_size}|{text}")
        (folder / f"{name}.csv").write_text(end.join(lines) + end, encoding="utf-8")
    return folder


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_spgispeech_splits_and_fields(tmp_path, end):
    corpus = prepare_spgispeech(
        write_spgispeech(tmp_path / "raw", end=end), tmp_path / "out", **QUIET
    )
    assert set(corpus.splits) == {"train", "valid"}
    rows = {row["id"]: row for row in texts(corpus.splits["valid"])}
    assert len(rows) == 6
    assert rows["valbb-2"] == {
        "id": "valbb-2",
        "key": "valbb-2",
        "text": "In bb, we grew 5% | maybe “more” in 2.",
        "speaker": "valbb",
        "category": "",
        "language": "en",
        "group": "valbb",
    }


def test_spgispeech_file_read_in_pieces_loses_no_line(tmp_path, monkeypatch):
    raw = write_spgispeech(tmp_path / "raw", num=10)
    for num_bytes in (1, 37, 64, 200):
        monkeypatch.setattr(spgispeech, "_TASK_BYTES", num_bytes)
        source = spgispeech.SpgiSpeechSource(raw, ("train", "val"))
        ids = [u.id for task in source.tasks() for u in source.read(task).utterances]
        assert len(ids) == len(set(ids)) == 40


def test_spgispeech_only_one_split_is_there(tmp_path):
    raw = write_spgispeech(tmp_path / "raw")
    (raw / "train.csv").unlink()
    assert set(prepare_spgispeech(raw, tmp_path / "out", **QUIET).splits) == {"valid"}
    with pytest.raises(FileNotFoundError, match=r"lacks train\.csv"):
        prepare_spgispeech(raw, tmp_path / "out2", splits=["train"])
    (raw / "val.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks train\.csv, val\.csv"):
        prepare_spgispeech(raw, tmp_path / "out2")


def test_spgispeech_other_columns_raise(tmp_path):
    raw = write_spgispeech(tmp_path / "raw")
    (raw / "val.csv").write_text("path,text\na,b\n")
    with pytest.raises(ValueError, match=r"val\.csv starts with b'path,text'"):
        prepare_spgispeech(raw, tmp_path / "out")


def test_spgispeech_broken_lines_are_rejected(tmp_path):
    raw = write_spgispeech(tmp_path / "raw", num=8)
    with (raw / "val.csv").open("ab") as file:
        file.write(b"only|two\nvalaa/9.wav|5|no such file here\nvalaa/1.wav|5|caf\xe9\n")
    prepare_spgispeech(raw, tmp_path / "out", **QUIET)
    assert sorted(rejected(tmp_path / "out").values()) == [
        "broken_line",
        "broken_line",
        "missing_recording",
    ]
