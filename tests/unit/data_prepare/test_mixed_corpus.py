"""A mixed corpus from raw recordings to batches, as hparams/corpus/mixed.yaml has it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hyperpyyaml import load_hyperpyyaml

from data_prepare.bizspeech import prepare_bizspeech
from data_prepare.index import ShardIndex
from data_prepare.mixed_corpus import on_each_corpus, prepare_mixture, read_mixture
from data_prepare.mixing import MixedLoader
from data_prepare.prepared import PreparedCorpus
from tests.conftest import ROOT
from tests.unit.data_prepare.raw_corpora import (
    leave_out_plot,
    texts,
    tone,
    write_audio,
    write_bizspeech,
    write_manifest,
)

CORPORA = ROOT / "hparams" / "corpus"
YAML = f"""
raw: !PLACEHOLDER
work: !PLACEHOLDER
corpus: !include:{CORPORA}/mixed.yaml
    work_folder: !ref <work>
    valid_split: calls/test
    test_splits: [books/train]
    parts:
        calls: !include:{CORPORA}/bizspeech.yaml
            data_folder: !ref <raw>/calls
            work_folder: !ref <work>
            split_by: utterance
            num_jobs: 1
        books: !include:{CORPORA}/librispeech.yaml
            data_folder: !ref <raw>/books
            work_folder: !ref <work>
            merge: {{train: train-clean-100}}
            num_jobs: 1
            train_split: train
        notes: !include:{CORPORA}/manifest.yaml
            manifest: !ref <raw>/notes/manifest.jsonl
            work_folder: !ref <work>
            shards_folder: !ref <work>/notes
            num_jobs: 1
"""


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Calls, books and notes as they come."""
    folder = tmp_path_factory.mktemp("raw")
    write_bizspeech(folder / "calls", 4, num_rows=6, row_s=1.2)
    chapter = folder / "books" / "train-clean-100" / "14" / "7"
    for number in range(3):
        write_audio(chapter / f"14-7-{number:04d}.flac", tone(0.5, pitch_hz=300 + number))
    lines = [f"14-7-{number:04d} WORD {number}\n" for number in range(3)]
    (chapter / "14-7.trans.txt").write_text("".join(lines))
    write_manifest(folder / "notes", 4, split="train")
    return folder


@pytest.fixture(scope="module")
def corpus(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The corpus of the YAML, prepared twice."""
    work = tmp_path_factory.mktemp("work")
    loaded: dict[str, Any] = load_hyperpyyaml(YAML, {"raw": str(raw), "work": str(work)})["corpus"]
    with pytest.MonkeyPatch.context() as monkeypatch:
        leave_out_plot(monkeypatch)
        loaded["prepare"]()
        before = file_times(work)
        loaded["prepare"]()
    assert file_times(work) == before
    return loaded


def file_times(folder: Path) -> dict[Path, int]:
    files = [path for path in folder.rglob("*") if path.is_file() and ".work" not in path.parts]
    return {path: path.stat().st_mtime_ns for path in files}


def test_mixed_corpus_has_the_splits_of_all_parts(corpus):
    prepared = PreparedCorpus.load(Path(corpus["shards_folder"]))
    expected = {"calls/train", "calls/test", "books/train", "notes/train"}
    assert set(prepared.splits) == expected
    for name in (corpus["valid_split"], *corpus["test_splits"]):
        assert ShardIndex.load(prepared.split(name)).num_utterances > 0
    with pytest.raises(ValueError, match="has no split 'valid'"):
        prepared.split("valid")


def test_mixed_corpus_is_loaded_as_a_mixture(corpus):
    folder = PreparedCorpus.load(Path(corpus["shards_folder"])).split(corpus["train_split"])
    loader = MixedLoader(folder, max_batch_s=4.0, shuffle=True)
    used = [pair for b in loader for pair in zip(b.corpus, b.text, strict=True)]
    expected = [
        (name, row["text"]) for name, part in read_mixture(folder).items() for row in texts(part)
    ]
    assert sorted(used) == sorted(expected)
    assert {name for name, _ in used} == {"calls", "books", "notes"}


def test_mixed_corpus_gives_the_text_of_all_parts(corpus):
    folder = Path(corpus["shards_folder"])
    split = PreparedCorpus.load(folder).split("calls/test")

    def names(folders, *, more):
        return [f"{path.parent.name}/{path.name}" for path in folders], more

    found = on_each_corpus([folder / "train", split], function=names, more=1)
    assert found == (["shards/train", "librispeech_shards/train", "notes/train", "shards/test"], 1)


def test_mixed_corpus_works_where_only_the_shards_were_brought(corpus, raw, tmp_path):
    work = tmp_path / "elsewhere"
    shutil.copytree(Path(corpus["work_folder"]), work)
    assert set(read_mixture(work / "mixture" / "train")) == {"calls", "books", "notes"}
    part = {**corpus["parts"]["calls"], "data_folder": "nowhere", "shards_folder": work / "shards"}
    prepared = prepare_mixture(tmp_path / "other", parts={"calls": part})
    assert prepared.split("calls/train").resolve() == (work / "shards" / "train").resolve()


def test_mixed_corpus_with_a_shard_gone_is_a_warning(corpus, tmp_path, caplog):
    work = tmp_path / "gone"
    shutil.copytree(Path(corpus["work_folder"]), work)
    shard = next((work / "shards" / "train").glob("*.tar"))
    shard.unlink()
    part = {**corpus["parts"]["calls"], "data_folder": "nowhere", "shards_folder": work / "shards"}
    prepared = prepare_mixture(tmp_path / "other", parts={"calls": part})
    assert f"{shard.name}: missing" in caplog.text
    options = {"max_batch_s": 4.0, "shuffle": True}
    with pytest.raises(ValueError, match="missing"):
        MixedLoader(prepared.split("train"), **options)
    loader = MixedLoader(prepared.split("train"), max_bad_share=0.99, **options)
    assert len(loader.report()["corpora"]) == 1


def test_mixed_corpus_part_prepared_anew_error(corpus, tmp_path):
    work = tmp_path / "changed"
    shutil.copytree(Path(corpus["work_folder"]), work)
    path = work / "notes" / "train" / "index.json"
    path.write_text(path.read_text().replace('"checksum": "', '"checksum": "0'))
    with pytest.raises(ValueError, match="notes was prepared anew since the mixture was made"):
        read_mixture(work / "mixture" / "train")
    with pytest.raises(FileNotFoundError, match=r"mixture.json is missing"):
        read_mixture(work)


def test_mixed_corpus_rates_differ_error(corpus, raw, tmp_path, monkeypatch):
    leave_out_plot(monkeypatch)
    slow = {**corpus["parts"]["calls"], "shards_folder": tmp_path / "slow", "local_folder": None}
    slow["prepare"] = lambda: prepare_bizspeech(
        raw / "calls", tmp_path / "slow", rate_hz=8000, progress=False
    )
    parts = {"books": corpus["parts"]["books"], "slow": slow}
    with pytest.raises(ValueError, match="sampling rates differ: books 16000 Hz, slow 8000 Hz"):
        prepare_mixture(tmp_path / "mixture", parts=parts)
    assert not (tmp_path / "mixture").exists()


def test_mixed_corpus_part_fails_error_names_it(corpus, tmp_path):
    def fail() -> None:
        raise ValueError("too much is rejected")

    part = {**corpus["parts"]["calls"], "data_folder": None, "prepare": fail}
    with pytest.raises(ValueError, match="too much is rejected") as caught:
        prepare_mixture(tmp_path / "mixture", parts={"calls": part})
    assert caught.value.__notes__ == ["It is corpus 'calls' of a mixture."]


@pytest.mark.parametrize(
    ("parts", "fault"),
    [
        ({}, "there are no parts"),
        ({"train": {}}, "'train' names a part and the mixture"),
        ({"../calls": {}}, "'../calls' is no plain name"),
    ],
)
def test_mixed_corpus_wrong_names_error(tmp_path, parts, fault):
    with pytest.raises(ValueError, match=fault):
        prepare_mixture(tmp_path / "mixture", parts=parts)


def test_mixed_corpus_part_at_an_address_error(corpus, tmp_path):
    part = {**corpus["parts"]["calls"], "shards_folder": "s3://speech/calls"}
    with pytest.raises(ValueError, match="part 'calls' lies at s3://speech/calls; expected"):
        prepare_mixture(tmp_path / "mixture", parts={"calls": part})


def test_mixture_of_another_format_error(tmp_path):
    (tmp_path / "mixture.json").write_text(json.dumps({"format": "x"}))
    with pytest.raises(ValueError, match="is of format 'x'"):
        read_mixture(tmp_path)
