"""Recordings of people: AN4 by its manifest and pieces of LibriSpeech, prepared and trained on."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from data_prepare.index import ShardIndex
from tests.conftest import ROOT
from tests.integration.commands import SMALL, log_rows, run, run_json, train_command

pytestmark = pytest.mark.multiproc

SPEAKERS = ("fjam", "flmm2", "mblb", "mcsc", "mdmc", "mjbh", "fkdo")
"""Five to train on, one of dev, one of test; 13 utterances or so of each."""
UPDATES = 6
OPTIONS = {key: value for key, value in SMALL.items() if not key.startswith("corpus.")}


def chosen(shared_data: Path) -> list[dict[str, Any]]:
    """Return the rows of the manifest that are by the chosen speakers."""
    rows = map(json.loads, (shared_data / "manifest.jsonl").read_text("utf-8").splitlines())
    return [row for row in rows if row["speaker"].removeprefix("an4-") in SPEAKERS]


@pytest.fixture(scope="module")
def an4(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """Work folder, output folder and printed text of a short training on a part of AN4."""
    folder = tmp_path_factory.mktemp("an4")
    manifest = folder / "manifest.jsonl"
    rows = [{**row, "path": str(shared_data / row["path"])} for row in chosen(shared_data)]
    manifest.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    options = {
        **OPTIONS,
        "manifest": manifest,
        "work_folder": folder / "work",
        "corpus.num_jobs": 1,
        "vocab_size": 40,
        "model.max_decode_ratio": 0.2,
        "max_updates": UPDATES,
        "librispeech_folder": shared_data / "LibriSpeech",
        "test_corpora.librispeech.subsets": "[test-other]",
        "test_corpora.librispeech.test_splits": "[test-other]",
        "test_corpora.librispeech.num_jobs": 1,
    }
    command = train_command("hparams/train_an4.yaml", folder / "run", **options)
    return folder / "work", folder / "run", run(command).check().out


def test_manifest_preparer_keeps_splits_and_texts_of_an4(an4, shared_data):
    for split, given in {"train": "train", "valid": "dev", "test": "test"}.items():
        index = ShardIndex.load(an4[0] / "shards" / split, check="full")
        found = {row["id"]: row["text"] for row in index.texts()}
        wanted = [row for row in chosen(shared_data) if row["split"] == given]
        assert found == {row["id"]: row["text"] for row in wanted}
        assert 1.0 < index.num_samples / index.rate_hz / index.num_utterances < 5.0


def test_training_on_an4_ends_with_a_table(an4):
    work, output, out = an4
    record = run_json(output)
    assert record["updates"] == UPDATES
    assert log_rows(output)[-1]["updates"] == UPDATES
    folders = {"test": "shards/test", "librispeech/test-other": "librispeech_shards/test-other"}
    assert list(record["results"]) == list(folders)
    for name, folder in folders.items():
        result = record["results"][name]
        assert result["utterances"] == ShardIndex.load(work / folder).num_utterances
        assert f"{name}  " in out
        assert f"{result['wer']:.2f}" in out


def test_librispeech_preparer_by_command_takes_every_utterance(shared_data, tmp_path):
    command = [sys.executable, "-m", "data_prepare.librispeech", shared_data / "LibriSpeech"]
    words = [*map(str, command), str(tmp_path / "out"), "--no-progress"]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True, timeout=120)
    source = shared_data / "LibriSpeech"
    for split in ("train-clean-100", "test-other"):
        index = ShardIndex.load(tmp_path / "out" / split, check="full")
        lines = [
            line.split(" ", 1)
            for path in (source / split).rglob("*.trans.txt")
            for line in path.read_text(encoding="utf-8").splitlines()
        ]
        on_disk = {path.stem for path in (source / split).rglob("*.flac")}
        assert {row["id"]: row["text"] for row in index.texts()} == {
            name: text for name, text in lines if name in on_disk
        }
