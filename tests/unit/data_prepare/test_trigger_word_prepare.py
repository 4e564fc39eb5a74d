"""Clips on disk, and the shards that are made of them."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from data_prepare.index import ShardIndex
from data_prepare.manifest import prepare_manifest
from data_prepare.prepared import locked
from data_prepare.reading import ShardReader
from data_prepare.trigger_word.clips import ClipMaker
from data_prepare.trigger_word_prepare import make_clips
from tests.unit.data_prepare.raw_corpora import leave_out_plot
from tests.unit.data_prepare.trigger_word.sweeps import RATE_HZ, write_words

OPTIONS = {
    **{"rate_hz": RATE_HZ, "clip_s": 2.0, "max_triggers": 2, "progress": False},
    "num_clips": {"train": 6, "valid": 2, "test": 3},
}


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    return str(write_words(tmp_path_factory.mktemp("words")))


@pytest.fixture
def clips(words, tmp_path):
    return make_clips(tmp_path / "clips", words_folder=words, **OPTIONS)


def records_of(manifest):
    return [json.loads(line) for line in manifest.read_text().splitlines()]


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_same_options_give_the_same_bytes_whatever_the_jobs(clips, words, tmp_path):
    again = make_clips(tmp_path / "again", words_folder=words, num_jobs=3, **OPTIONS)
    assert contents(clips.parent) == contents(again.parent)
    audio = [clips.parent.joinpath(r["path"]).read_bytes() for r in records_of(clips)]
    assert len(set(audio)) == len(audio) == 11


def test_no_recording_is_heard_in_two_splits(clips):
    heard = {}
    for record in records_of(clips):
        own = {record["background"], *record["trigger_ids"], *record["negative_ids"]}
        heard.setdefault(record["split"], set()).update(own)
    assert set(heard) == {"train", "valid", "test"}
    assert sum(map(len, heard.values())) == len(set().union(*heard.values()))


def test_shards_hold_the_samples_and_notes_of_the_folder(clips, tmp_path, monkeypatch):
    leave_out_plot(monkeypatch)
    keep = ["trigger_ends_ms", "negative_spans_ms", "background", "snr_db"]
    corpus = prepare_manifest(
        clips,
        tmp_path / "shards",
        keep=keep,
        rate_hz=RATE_HZ,
        allow_empty_text=True,
        progress=False,
    )
    records = {record["id"]: record for record in records_of(clips)}
    for split, folder in corpus.splits.items():
        index = ShardIndex.load(folder)
        out = np.empty((len(index.utterances), 2 * RATE_HZ), np.float32)
        found = ShardReader(index).read(index.utterances, out=out)
        assert len(found.metas) == OPTIONS["num_clips"][split]
        for row, meta in zip(out, found.metas, strict=True):
            record = records[meta["id"]]
            wanted = {name: record[name] for name in keep if record[name] is not None}
            assert meta["notes"] == wanted
            samples, _ = soundfile.read(clips.parent / record["path"], dtype="float32")
            np.testing.assert_array_equal(row, samples)


def test_second_run_does_nothing_and_other_options_are_refused(clips, words):
    before = contents(clips.parent)
    stamp = clips.stat().st_mtime_ns
    assert make_clips(clips.parent, words_folder=words, **OPTIONS) == clips
    assert clips.stat().st_mtime_ns == stamp
    with pytest.raises(ValueError, match=r"seed was 0, now 1"):
        make_clips(clips.parent, words_folder=words, seed=1, **OPTIONS)
    make_clips(clips.parent, words_folder=words, seed=1, overwrite=True, **OPTIONS)
    assert contents(clips.parent) != before


def test_changed_recordings_are_refused_and_absent_ones_are_not_missed(tmp_path):
    words = write_words(tmp_path / "words")
    clips = make_clips(tmp_path / "clips", words_folder=str(words), **OPTIONS)
    shutil.copy(words / "activates/0.wav", words / "activates/1.wav")
    with pytest.raises(ValueError, match=r"other options \(fingerprint was '.*', now '"):
        make_clips(clips.parent, words_folder=str(words), **OPTIONS)
    shutil.rmtree(words)
    assert make_clips(clips.parent, words_folder=str(words), **OPTIONS) == clips
    with pytest.raises(FileNotFoundError, match="no folder"):
        make_clips(tmp_path / "other", words_folder=str(words), **OPTIONS)


def test_recording_that_a_manifest_names_is_missing(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text('{"id": "a", "path": "a.wav", "kind": "trigger"}\n')
    where = {"trigger_where": {"kind": "trigger"}, "background_where": {"kind": "noise"}}
    with pytest.raises(FileNotFoundError, match=r"no file .*a\.wav; expected the recordings"):
        make_clips(tmp_path / "clips", manifest=str(path), **where, **OPTIONS)


def test_clips_that_tell_nothing_of_their_recordings_are_made_anew(clips, words, caplog):
    before = contents(clips.parent)
    path = clips.parent / "clips.json"
    old = json.loads(path.read_text())
    del old["fingerprint"]
    path.write_text(json.dumps(old))
    make_clips(clips.parent, words_folder=words, **OPTIONS)
    assert "mixed anew" in caplog.text
    assert contents(clips.parent) == before


def test_stopped_run_goes_on_to_the_same_bytes(clips, words, tmp_path, monkeypatch):
    make = ClipMaker.make

    def stop(self, number):
        if self.split != "train":
            raise OSError("disk full")
        return make(self, number)

    folder = tmp_path / "stopped"
    with monkeypatch.context() as patch:
        patch.setattr(ClipMaker, "make", stop)
        with pytest.raises(OSError, match="disk full"):
            make_clips(folder, words_folder=words, **OPTIONS)
    assert not (folder / "clips.json").exists()
    (folder / "train/train-000003.flac.tmp-killed").touch()
    kept = {path: path.stat().st_mtime_ns for path in folder.rglob("*.flac")}
    assert len(kept) == 6
    with pytest.raises(ValueError, match=r"\.begun tells of other options \(seed was 0, now 1"):
        make_clips(folder, words_folder=words, seed=1, **OPTIONS)
    make_clips(folder, words_folder=words, **OPTIONS)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert contents(folder) == contents(clips.parent)


def test_killed_run_goes_on_to_the_same_bytes(clips, words, tmp_path):
    code = (
        "import os, sys, json; from data_prepare.trigger_word import writing;"
        "from data_prepare.trigger_word_prepare import make_clips; write = writing.write_json;"
        "writing.write_json = lambda path, value:"
        " os._exit(9) if '-000004' in path.name else write(path, value);"
        "make_clips(sys.argv[1], words_folder=sys.argv[2], **json.loads(sys.argv[3]))"
    )
    folder = tmp_path / "killed"
    command = [sys.executable, "-c", code, str(folder), words, json.dumps(OPTIONS)]
    assert subprocess.run(command, check=False).returncode == 9
    make_clips(folder, words_folder=words, **OPTIONS)
    assert contents(folder) == contents(clips.parent)


def test_second_process_is_told_of_the_first(clips, words):
    with locked(clips.parent):
        assert make_clips(clips.parent, words_folder=words, **OPTIONS) == clips
        with pytest.raises(RuntimeError, match="another process prepares into this folder"):
            make_clips(clips.parent, words_folder=words, seed=1, overwrite=True, **OPTIONS)
    assert clips.is_file()


def test_folder_of_somebody_else_is_left_alone(words, tmp_path):
    (tmp_path / "train").mkdir()
    with pytest.raises(ValueError, match="not made here"):
        make_clips(tmp_path, words_folder=words, **OPTIONS)
    assert [path.name for path in tmp_path.iterdir()] == ["train"]


def test_options_tell_all_faults(tmp_path):
    with pytest.raises(ValueError, match=r"names 'dev'.*is 0 for dev.*no train.*both given"):
        make_clips(tmp_path, words_folder="w", manifest="m", num_clips={"dev": 0})


def test_clips_tell_what_was_made(clips):
    made = json.loads((clips.parent / "clips.json").read_text())["made"]
    assert made["train"]["clips"] == 6
    assert made["train"]["recordings"] == {"trigger": 6, "negative": 6, "background": 6}
    assert made["test"]["hours"] == round(6 / 3600, 4)


@pytest.mark.multiproc
def test_spoken_words_need_no_download(tmp_path):
    options = {**OPTIONS, "num_voices": {"train": 1, "valid": 1, "test": 1}}
    manifest = make_clips(tmp_path, negatives=("seven", "turn it off"), **options)
    spoken = sorted(path.name for path in (tmp_path / "spoken" / "train").rglob("*.flac"))
    wanted = ["0000-computer.flac", "0000-seven.flac", "0000-turn_it_off.flac", "0000.flac"]
    assert spoken == wanted
    assert len(records_of(manifest)) == 11
