import io
import json

import numpy as np
import pytest
import soundfile
import webdataset

from data_prepare.bizspeech import prepare_bizspeech
from data_prepare.index import ShardIndex
from data_prepare.manifest import prepare_manifest
from data_prepare.prepared import PreparedCorpus, locked
from data_prepare.shards import decode_pair
from tests.unit.data_prepare.raw_corpora import (
    contents,
    leave_out_plot,
    rejected,
    texts,
    tone,
    write_audio,
    write_bizspeech,
    write_manifest,
)


@pytest.fixture(autouse=True)
def _no_plot(monkeypatch):
    leave_out_plot(monkeypatch)


OPTIONS = {"train_share": 0.6, "valid_share": 0.2, "progress": False}


@pytest.fixture
def raw(tmp_path):
    return write_bizspeech(tmp_path / "raw", rate_hz=32000, channels=2)


def test_prepare_result_has_indexed_shards_in_each_split(raw, tmp_path):
    corpus = prepare_bizspeech(raw, tmp_path / "out", **OPTIONS)
    assert list(corpus.splits) == ["train", "valid", "test"]
    indexes = [ShardIndex.load(folder, check="full") for folder in corpus.splits.values()]
    assert sum(index.num_utterances for index in indexes) == 36
    assert PreparedCorpus.load(tmp_path / "out") == corpus


def test_prepared_unknown_split_names_those_that_are_there(raw, tmp_path):
    corpus = prepare_bizspeech(raw, tmp_path / "out", **OPTIONS)
    assert corpus.split("valid") == corpus.splits["valid"]
    with pytest.raises(ValueError, match=r"no split 'dev'; expected one of \['test', 'train'"):
        corpus.split("dev")


def test_prepare_stock_webdataset_reads_the_same(raw, tmp_path):
    corpus = prepare_bizspeech(raw, tmp_path / "out", num_shards={"train": 2}, **OPTIONS)
    index = ShardIndex.load(corpus.splits["train"])
    paths = [str(index.shard_path(number)) for number in range(len(index.shards))]
    samples = list(webdataset.WebDataset(paths, shardshuffle=False, empty_check=False))
    assert [sample["__key__"] for sample in samples] == [row["key"] for row in index.texts()]
    for sample, row in zip(samples, index.utterances, strict=True):
        wave, rate_hz = soundfile.read(io.BytesIO(sample["flac"]), dtype="int16")
        meta = json.loads(sample["json"])
        assert (len(wave), rate_hz) == (row["num_samples"], 16000) == (meta["num_samples"], 16000)


def test_prepare_member_tells_where_it_comes_from(raw, tmp_path):
    corpus = prepare_bizspeech(raw, tmp_path / "out", **OPTIONS)
    index = ShardIndex.load(corpus.splits["train"])
    row = index.utterances[0]
    with index.shard_path(int(row["shard"])).open("rb") as file:
        file.seek(int(row["offset"]))
        _, flac, meta = decode_pair(file.read(int(row["num_bytes"])))
    wave, _ = soundfile.read(io.BytesIO(flac), dtype="int16")
    whole, _ = soundfile.read(raw / meta["source"], dtype="float32")
    piece = whole[round(meta["start_s"] * 32000) : round(meta["end_s"] * 32000)].mean(axis=1)
    assert np.corrcoef(wave[100:-100], piece[::2][100:-100])[0, 1] > 0.9
    assert meta["text"].startswith("Sentence number")
    assert index.categories[row["category"]] == meta["category"]


@pytest.mark.multiproc
def test_prepare_number_of_jobs_does_not_change_a_byte(raw, tmp_path):
    for name, num_jobs in (("one", 1), ("two", 2)):
        options = OPTIONS | {"num_shards": {"train": 4}, "num_jobs": num_jobs}
        prepare_bizspeech(raw, tmp_path / name, **options)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_prepare_second_run_does_nothing(raw, tmp_path):
    first = prepare_bizspeech(raw, tmp_path / "out", **OPTIONS)
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "train").iterdir()}
    with locked(tmp_path / "out"):  # needs no lock, so it works on a disk that is read-only
        again = prepare_bizspeech(raw, tmp_path / "out", **OPTIONS | {"max_rejected_share": 0.9})
    assert first == again
    assert times == {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "train").iterdir()}


def test_prepare_killed_while_tidying_second_run_tidies(raw, tmp_path):
    prepare_bizspeech(raw, tmp_path / "out", **OPTIONS)
    (tmp_path / "out/.work/plan").mkdir()
    prepare_bizspeech(raw, tmp_path / "out", **OPTIONS)
    assert {path.name for path in (tmp_path / "out/.work").iterdir()} == {"lock", "ledger"}


def test_prepare_other_options_are_named_and_refused(raw, tmp_path):
    prepare_bizspeech(raw, tmp_path / "out", **OPTIONS)
    before = contents(tmp_path / "out")
    with pytest.raises(ValueError, match="seed was 1234, now 5; split_by was 'group', now 'utt"):
        prepare_bizspeech(raw, tmp_path / "out", seed=5, split_by="utterance", **OPTIONS)
    assert contents(tmp_path / "out") == before


def test_prepare_changed_source_is_refused(raw, tmp_path):
    prepare_bizspeech(raw, tmp_path / "out", **OPTIONS)
    with (raw / "e0" / "transcript_timealigned.txt").open("a") as file:
        file.write("9\tOne more sentence.\t00:00:08\ts1\tq-and-a\n")
    with pytest.raises(ValueError, match="fingerprint was"):
        prepare_bizspeech(raw, tmp_path / "out", **OPTIONS)


def test_prepare_overwrite_starts_over_and_leaves_other_files(raw, tmp_path):
    prepare_bizspeech(raw, tmp_path / "out", num_shards={"train": 5}, **OPTIONS)
    (tmp_path / "out" / "my notes.txt").write_text("keep me")
    prepare_bizspeech(raw, tmp_path / "out", overwrite=True, **OPTIONS)
    prepare_bizspeech(raw, tmp_path / "fresh", **OPTIONS)
    got = contents(tmp_path / "out")
    assert got.pop("my notes.txt") == b"keep me"
    assert got == contents(tmp_path / "fresh")


def test_prepare_folder_of_somebody_else_is_refused(raw, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("precious")
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match="not a prepared corpus"):
            prepare_bizspeech(raw, tmp_path / "home", overwrite=overwrite, **OPTIONS)
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["thesis.tex"]


def test_prepare_two_at_a_time_are_refused(raw, tmp_path):
    with locked(tmp_path / "out"), pytest.raises(RuntimeError, match="another process prepares"):
        prepare_bizspeech(raw, tmp_path / "out", **OPTIONS)


def test_prepare_local_folder_gets_a_whole_copy(raw, tmp_path):
    options = OPTIONS | {"local_folder": tmp_path / "scratch"}
    corpus = prepare_bizspeech(raw, tmp_path / "out", **options)
    assert corpus.folder == tmp_path / "scratch"
    for split in corpus.splits:
        assert contents(tmp_path / "out" / split) == contents(tmp_path / "scratch" / split)
    assert prepare_bizspeech(raw, tmp_path / "out", **options) == corpus


def test_prepare_local_folder_with_another_corpus_is_refused(raw, tmp_path):
    prepare_bizspeech(raw, tmp_path / "scratch", seed=2, **OPTIONS)
    with pytest.raises(ValueError, match="prepared otherwise"):
        prepare_bizspeech(raw, tmp_path / "out", local_folder=tmp_path / "scratch", **OPTIONS)


def test_prepare_undecodable_audio_is_counted_and_listed(tmp_path):
    manifest = write_manifest(tmp_path / "raw", 10, split="train")
    (tmp_path / "raw/audio/r3.wav").write_bytes(b"not audio")
    (tmp_path / "raw/audio/r4.wav").unlink()
    flac = tmp_path / "raw/audio/r5.wav"  # libsndfile goes by content, not by name
    write_audio(flac.with_suffix(".flac"), tone(0.5))
    data = flac.with_suffix(".flac").read_bytes()
    flac.write_bytes(data[: len(data) // 2])
    corpus = prepare_manifest(manifest, tmp_path / "out", max_rejected_share=0.5, progress=False)
    assert rejected(tmp_path / "out") == {
        "u3": "undecodable", "u4": "missing_recording", "u5": "undecodable",
    }  # fmt: skip
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["rejected"] == {"missing_recording": 1, "undecodable": 2}
    assert summary["rejected_share"] == 0.3
    assert ShardIndex.load(corpus.splits["train"], check="full").num_utterances == 7


def test_prepare_too_many_rejections_stop_before_any_index(tmp_path):
    manifest = write_manifest(tmp_path / "raw", 6, split="train")
    for number in (1, 2):
        (tmp_path / f"raw/audio/r{number}.wav").unlink()
    with pytest.raises(ValueError, match=r"2 of 6 .*missing_recording 2"):
        prepare_manifest(manifest, tmp_path / "out", progress=False)
    assert not list((tmp_path / "out").rglob("index.json"))
    corpus = prepare_manifest(manifest, tmp_path / "out", max_rejected_share=0.4, progress=False)
    assert len(texts(corpus.splits["train"])) == 4


def test_prepare_nothing_left_is_an_error(tmp_path):
    manifest = write_manifest(tmp_path / "raw", 3, split="train")
    options = {"min_duration_s": 5.0, "max_rejected_share": 1.0, "progress": False}
    with pytest.raises(ValueError, match=r"no utterance is left .*too_short.*3"):
        prepare_manifest(manifest, tmp_path / "out", **options)
