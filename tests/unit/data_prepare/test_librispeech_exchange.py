"""LibriSpeech in the benchmark's form: archives, WAV files, manifests, tokens."""

import hashlib
import json
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
import soundfile

from data_prepare import librispeech_archives as archives
from data_prepare.librispeech import prepare_librispeech
from data_prepare.librispeech_exchange import manifest_name, read_manifest, write_exchange
from data_prepare.stored_corpus import open_corpus
from recipes.LibriSpeech.ASR.transducer.exchange import write_tokens

TEXTS = {
    "1-2-0000": "IT'S A QUICK BROWN FOX THAT JUMPS OVER THE LAZY DOG",
    "1-2-0001": "PACK MY BOX WITH FIVE DOZEN LIQUOR JUGS OF THE FOX",
}


def write_subset(root: Path, subset: str) -> Path:
    """Write one chapter of two utterances in LibriSpeech's layout."""
    speaker = "1" if subset.startswith("train") else "3"
    folder = root / "LibriSpeech" / subset / speaker / "2"
    folder.mkdir(parents=True)
    texts = {speaker + name[1:]: text for name, text in TEXTS.items()}
    for number, identifier in enumerate(texts):
        tone = (8000 * np.sin(np.arange(8000 + 160 * number) / 9)).astype(np.int16)
        soundfile.write(folder / f"{identifier}.flac", tone, 16000, subtype="PCM_16")
    lines = "".join(f"{name} {text}\n" for name, text in texts.items())
    (folder / f"{speaker}-2.trans.txt").write_text(lines, encoding="utf-8")
    return root / "LibriSpeech"


@pytest.fixture
def corpus(tmp_path):
    write_subset(tmp_path, "train-clean-100")
    return write_subset(tmp_path, "dev-clean")


def test_manifest_has_the_benchmarks_form(corpus):
    paths = write_exchange(corpus)
    assert [path.name for path in paths] == [
        "librispeech-train-clean-100-wav.json", "librispeech-dev-clean-wav.json"
    ]  # fmt: skip
    entries = json.loads(paths[0].read_text(encoding="utf-8"))
    assert [entry["transcript"] for entry in entries] == [t.lower() for t in TEXTS.values()]
    assert entries[1]["original_num_samples"] == 8160
    assert entries[1]["original_duration"] == pytest.approx(0.51)
    file = entries[1]["files"][-1]
    assert file["fname"] == "train-clean-100-wav/1/2/1-2-0001.wav"
    assert (file["speed"], file["num_samples"], file["sample_rate"]) == (1, 8160, 16000)
    assert file["duration"] == pytest.approx(0.51)
    samples, rate_hz = soundfile.read(corpus / file["fname"], dtype="int16")
    original, _ = soundfile.read(corpus / "train-clean-100/1/2/1-2-0001.flac", dtype="int16")
    assert rate_hz == 16000
    assert np.array_equal(samples, original)


def test_manifest_is_read_back(corpus):
    write_exchange(corpus)
    rows = read_manifest(corpus / manifest_name("dev-clean"))
    assert [row["fname"][-12:] for row in rows] == ["3-2-0000.wav", "3-2-0001.wav"]
    assert [row["duration_s"] for row in rows] == pytest.approx([0.5, 0.51])


@pytest.mark.multiproc
def test_processes_write_the_same(corpus, tmp_path):
    alone = [path.read_bytes() for path in write_exchange(corpus)]
    for path in corpus.glob("*.json"):
        path.unlink()
    assert [path.read_bytes() for path in write_exchange(corpus, num_jobs=2)] == alone


def test_shards_come_from_the_same_command(corpus, tmp_path):
    write_exchange(corpus, shards=tmp_path / "shards")
    prepared = open_corpus(tmp_path / "shards")
    assert {"train", "dev-clean"} <= set(prepared.splits)
    # They are those that the run files ask for, with their merge: found finished.
    merge = {"train": "train-clean-100"}
    again = prepare_librispeech(corpus, tmp_path / "shards", merge=merge)
    assert again.splits == prepared.splits


def test_subset_that_is_absent_is_told(corpus):
    with pytest.raises(FileNotFoundError, match="lacks test-clean"):
        write_exchange(corpus, subsets=("test-clean",))


def test_tokens_have_the_benchmarks_form(corpus, tmp_path):
    write_exchange(corpus)
    path = write_tokens(corpus, tmp_path / "out", vocab_size=40, pickles=True)
    assert path.name == "librispeech40.model"
    processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
    assert (processor.get_piece_size(), processor.unk_id(), processor.bos_id()) == (40, 0, -1)
    vocab = path.with_suffix(".vocab").read_text(encoding="utf-8").splitlines()
    assert len(vocab) == 40 and vocab[0].split("\t")[0] == "<unk>"
    folder = tmp_path / "out" / "metadata"
    name = "librispeech-train-clean-100-wav-tokenized"
    rows = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    assert processor.decode(rows[0]["tokenized_transcript"]) == TEXTS["1-2-0000"].lower()
    assert set(rows[0]) == {"fname", "original_duration", "tokenized_transcript"}
    assert pickle.loads((folder / f"{name}.pkl").read_bytes()) == rows


def test_tokens_without_manifests_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds none of librispeech-train-clean-100"):
        write_tokens(tmp_path, tmp_path / "out")


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A folder that stands for the server, with one archive and its sum."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    source = write_subset(tmp_path / "source", "dev-clean")
    path = folder / "dev-clean.tar.gz"
    with tarfile.open(path, "w:gz") as file:
        file.add(source, "LibriSpeech")
    monkeypatch.setitem(archives.MD5, "dev-clean", hashlib.md5(path.read_bytes()).hexdigest())
    return folder


def test_archive_is_fetched_checked_and_unpacked_once(mirror, tmp_path):
    options = {"subsets": ("dev-clean",), "url": mirror.as_uri()}
    root = archives.download_librispeech(tmp_path / "corpora", **options)
    assert (root / "dev-clean/3/2/3-2-0000.flac").is_file()
    assert not list((tmp_path / "corpora").glob("*.tar.gz"))
    (mirror / "dev-clean.tar.gz").unlink()
    assert archives.download_librispeech(tmp_path / "corpora", **options) == root


def test_archive_with_another_sum_is_refused(mirror, tmp_path, monkeypatch):
    monkeypatch.setitem(archives.MD5, "dev-clean", "0" * 32)
    with pytest.raises(ValueError, match="has MD5 .*; expected 0000"):
        archives.download_librispeech(
            tmp_path / "corpora", subsets=("dev-clean",), url=mirror.as_uri()
        )
    assert not (tmp_path / "corpora/LibriSpeech/dev-clean").exists()


def test_unknown_subset_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no subset dev-dirty"):
        archives.download_librispeech(tmp_path, subsets=("dev-dirty",))
