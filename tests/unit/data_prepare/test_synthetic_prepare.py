"""One-minute corpora in all layouts: what lies on disk, and what a second run does."""

import csv
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from data_prepare.prepared import locked
from data_prepare.synthetic.dirt import EVENT_KINDS, ROW_KINDS
from data_prepare.synthetic_prepare import build_parser, main, prepare_synthetic

pytestmark = pytest.mark.multiproc

MINUTE = {"hours": 1 / 60, "seed": 3, "dirt": 0.0, "progress": False}
SUBSETS = {
    "train-clean-100", "train-clean-360", "train-other-500", "dev-clean", "dev-other",
    "test-clean", "test-other",
}  # fmt: skip


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def transcript(event: Path) -> list[list[str]]:
    text = (event / "transcript_timealigned.txt").read_text(encoding="utf-8")
    return [line.split("\t") for line in text.splitlines()[1:]]


def seconds_of(time: str) -> float:
    hours, minutes, seconds = time.split(":")
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds)


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return prepare_synthetic(tmp_path_factory.mktemp("clean"), **MINUTE)


@pytest.fixture(scope="module")
def dirty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = MINUTE | {"hours": 0.1, "dirt": 0.2, "minutes_per_call": 1.0}
    return prepare_synthetic(tmp_path_factory.mktemp("dirty"), layouts=("bizspeech",), **options)[
        "bizspeech"
    ]


def truth_of(folder: Path) -> dict:
    return json.loads((folder.parent / "synthetic_truth.json").read_text(encoding="utf-8"))


def test_prepare_synthetic_one_minute_is_about_one_minute(corpora: dict[str, Path]) -> None:
    recordings = list(corpora["bizspeech"].glob("*/recording.*"))
    assert len(recordings) == 6
    total_s = sum(soundfile.info(path).duration for path in recordings)
    assert total_s == pytest.approx(60.0, rel=0.25)


def test_prepare_synthetic_rows_hold_speech_and_gaps_are_quiet(corpora: dict[str, Path]) -> None:
    for path in corpora["bizspeech"].glob("*/recording.*"):
        samples, rate_hz = soundfile.read(path, always_2d=True)
        for row in transcript(path.parent):
            start = round(seconds_of(row[2]) * rate_hz)
            before, after = samples[start - rate_hz // 20 : start], samples[start : start + rate_hz]
            assert np.sqrt(np.mean(after**2)) > 10.0 * np.sqrt(np.mean(before**2))


def test_prepare_synthetic_bizspeech_metadata_tells_of_every_event(
    corpora: dict[str, Path],
) -> None:
    folder = corpora["bizspeech"]
    metadata = json.loads((folder / "BizSpeech_MetaData.json").read_text(encoding="utf-8"))
    assert set(metadata) == {path.name for path in folder.iterdir() if path.is_dir()}
    assert {row["partition"] == 5 for row in metadata.values()} == {True, False}
    for event, row in metadata.items():
        assert row["ceoID"] in {cells[3] for cells in transcript(folder / event)}
    sets = json.loads((folder / "cloudasr_testset_lists.json").read_text(encoding="utf-8"))
    assert {name: len(events) for name, events in sets.items()} == {"native": 1, "nonnative": 1}


def test_prepare_synthetic_calls_share_no_speaker(corpora: dict[str, Path]) -> None:
    speakers = [
        {cells[3] for cells in transcript(path)}
        for path in corpora["bizspeech"].iterdir()
        if path.is_dir()
    ]
    assert len(set().union(*speakers)) == sum(map(len, speakers))


def test_prepare_synthetic_spgispeech_csv_fits_its_files(corpora: dict[str, Path]) -> None:
    for split in ("train", "val"):
        with (corpora["spgispeech"] / f"{split}.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="|"))
        assert rows
        for row in rows:
            path = corpora["spgispeech"] / split / row["wav_filename"]
            assert path.stat().st_size == int(row["wav_filesize"])
            assert soundfile.info(path).samplerate == 16000
            assert "$" not in row["transcript"]


def test_prepare_synthetic_librispeech_tree_is_the_real_one(corpora: dict[str, Path]) -> None:
    folder = corpora["librispeech"]
    assert {path.name for path in folder.iterdir() if path.is_dir()} == SUBSETS
    ids = set()
    for path in folder.glob("*/*/*/*.trans.txt"):
        speaker, chapter = path.parent.parent.name, path.parent.name
        assert path.name == f"{speaker}-{chapter}.trans.txt"
        for line in path.read_text(encoding="utf-8").splitlines():
            utterance, text = line.split(" ", 1)
            assert soundfile.info(path.parent / f"{utterance}.flac").samplerate == 16000
            assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ ")
            ids.add(utterance)
    assert len(ids) == len(list(folder.rglob("*.flac")))
    speakers = (folder / "SPEAKERS.TXT").read_text(encoding="utf-8").splitlines()[1:]
    assert {line.split("|")[2].strip() for line in speakers} == SUBSETS


def test_prepare_synthetic_two_jobs_give_the_same_bytes(
    corpora: dict[str, Path], tmp_path: Path
) -> None:
    prepare_synthetic(tmp_path, num_jobs=2, **MINUTE)
    assert digests(tmp_path) == digests(corpora["bizspeech"].parent)


def test_prepare_synthetic_same_options_again_does_nothing(corpora: dict[str, Path]) -> None:
    folder = corpora["bizspeech"].parent
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert prepare_synthetic(folder, **MINUTE) == corpora
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_prepare_synthetic_other_options_are_refused(corpora: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match=r"seed was 3, now 4.*overwrite=True"):
        prepare_synthetic(corpora["bizspeech"].parent, **(MINUTE | {"seed": 4}))


def test_prepare_synthetic_overwrite_deletes_only_what_it_made(tmp_path: Path) -> None:
    prepare_synthetic(tmp_path, layouts=("spgispeech",), **MINUTE)
    (tmp_path / "LibriSpeech").mkdir()
    changed = MINUTE | {"seed": 4, "overwrite": True}
    prepare_synthetic(tmp_path, layouts=("spgispeech",), **changed)
    assert (tmp_path / "LibriSpeech").is_dir()
    with pytest.raises(FileExistsError, match="LibriSpeech was not made here"):
        prepare_synthetic(tmp_path, layouts=("librispeech",), **changed)


def test_prepare_synthetic_stopped_run_goes_on_to_the_same_bytes(
    corpora: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from data_prepare.synthetic import work

    written = []

    def stop_at_fifth(path: Path, value: object) -> None:
        written.append(path)
        if len(written) == 5:
            raise OSError("disk full")
        path.write_text(json.dumps(value), encoding="utf-8")

    with monkeypatch.context() as patch:
        patch.setattr(work, "write_json", stop_at_fifth)
        with pytest.raises(OSError, match="disk full"):
            prepare_synthetic(tmp_path, **MINUTE)
    assert not (tmp_path / "synthetic.json").exists()
    prepare_synthetic(tmp_path, **MINUTE)
    assert digests(tmp_path) == digests(corpora["bizspeech"].parent)


def test_prepare_synthetic_second_process_is_told_of_the_first(tmp_path: Path) -> None:
    with (
        locked(tmp_path),
        pytest.raises(RuntimeError, match="another process prepares into this folder"),
    ):
        prepare_synthetic(tmp_path, **MINUTE)
    assert not (tmp_path / ".synthetic_work").exists()


def test_prepare_synthetic_lost_corpus_is_made_again(
    corpora: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(corpora["bizspeech"].parent, folder)
    shutil.rmtree(folder / "SPGISpeech")
    prepare_synthetic(folder, **MINUTE)
    assert digests(folder) == digests(corpora["bizspeech"].parent)


def test_prepare_synthetic_dirt_is_counted_and_on_disk(dirty: Path) -> None:
    truth = truth_of(dirty)["bizspeech"]
    assert set(truth["counts"]) == set(ROW_KINDS) | set(EVENT_KINDS)
    for event, record in truth["events"].items():
        rows = {cells[0]: cells for cells in transcript(dirty / event)}
        for sentence_id, kind in record["dirt_rows"].items():
            assert ("Operator Instructions" in rows[sentence_id][1]) == kind.startswith("operator")
            assert ("x" in rows[sentence_id][-3]) == (kind == "broken_clock")
            assert (len(rows[sentence_id]) == 6) == (kind == "tab")


def test_prepare_synthetic_dirty_events_are_as_the_truth_says(dirty: Path) -> None:
    event_of = {r["dirt"]: name for name, r in truth_of(dirty)["bizspeech"]["events"].items()}
    metadata = json.loads((dirty / "BizSpeech_MetaData.json").read_text(encoding="utf-8"))
    excluded = json.loads((dirty / "exclude_event_list.json").read_text(encoding="utf-8"))
    assert not list((dirty / event_of["missing_recording"]).glob("recording.*"))
    assert event_of["missing_metadata"] not in metadata
    assert excluded == {"misaligned": [event_of["misaligned"]]}
    assert transcript(dirty / event_of["empty_transcript"]) == []


def test_prepare_synthetic_short_recording_breaks_off_in_a_row(dirty: Path) -> None:
    events = truth_of(dirty)["bizspeech"]["events"]
    event, record = next((e, r) for e, r in events.items() if r["dirt"] == "short_recording")
    (path,) = (dirty / event).glob("recording.*")
    end_s = soundfile.info(path).duration
    starts_s = [seconds_of(cells[2]) for cells in transcript(dirty / event)]
    complete = record["num_rows_recorded"]
    assert starts_s[complete] < end_s < starts_s[complete + 1] - 0.5


def test_prepare_synthetic_no_jobs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="num_jobs is 0"):
        prepare_synthetic(tmp_path, num_jobs=0, **MINUTE)


def test_command_line_help_tells_every_option() -> None:
    text = build_parser().format_help()
    for option in ("hours", "seed", "layouts", "dirt", "num_jobs", "overwrite", "progress"):
        assert f"--{option}" in text


def test_command_line_module_leaves_the_library_alone() -> None:
    code = "import sys, data_prepare.synthetic_prepare; print('espeakng_loader' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_main_wrong_option_says_what_and_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path), "--dirt", "2"]) == 1
    assert "dirt is 2.0, expected a share, 0 to 0.5" in capsys.readouterr().err
