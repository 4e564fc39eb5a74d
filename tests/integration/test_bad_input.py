"""What a user does wrong is told in one message: where, what, what was expected. No traceback."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.integration.commands import CORPUS, TIMEOUT_S, Done, train_command
from tests.integration.conftest import MainJob

pytestmark = pytest.mark.multiproc

Make = Callable[[MainJob, Path], dict[str, Any]]
"""Prepares a fault below a folder and returns the options of the command that meets it."""


def copied(job: MainJob, folder: Path) -> Path:
    """Return a copy of the main job's work folder that may be spoilt."""
    return Path(shutil.copytree(job.work, folder / "work", symlinks=True))


def wrong_keys(job: MainJob, folder: Path) -> dict[str, Any]:
    return {"num_epoch": 3, "lr": "fast", "precision": "fp8", "model.rnn_layer": 2}


def missing_corpus(job: MainJob, folder: Path) -> dict[str, Any]:
    return {"data_folder": folder / "nowhere", "precision": "fp32"}


def missing_test_corpus(job: MainJob, folder: Path) -> dict[str, Any]:
    return {"librispeech_folder": folder / "nowhere"}


def other_tokenizer(job: MainJob, folder: Path) -> dict[str, Any]:
    return {"vocab_size": 70, "tokenizer_folder": job.work / "tokenizer_bpe_80"}


def other_corpus_options(job: MainJob, folder: Path) -> dict[str, Any]:
    return {"corpus.hours": 0.06}


def other_exclude_list(job: MainJob, folder: Path) -> dict[str, Any]:
    work = copied(job, folder)
    path = work / "corpus" / "bizspeech" / "exclude_event_list.json"
    path.write_text(json.dumps({"by hand": ["nothing"]}), encoding="utf-8")
    return {"work_folder": work}


def cut_shard(job: MainJob, folder: Path) -> dict[str, Any]:
    work = copied(job, folder)
    shard = next((work / "shards" / "train").glob("*.tar"))
    os.truncate(shard, shard.stat().st_size // 2)
    return {"work_folder": work}


def changed_index(job: MainJob, folder: Path) -> dict[str, Any]:
    work = copied(job, folder)
    path = work / "shards" / "train" / "index.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["num_utterances"] += 1
    path.write_text(json.dumps(content), encoding="utf-8")
    return {"work_folder": work}


def other_model(job: MainJob, folder: Path) -> dict[str, Any]:
    shutil.copytree(job.output / "checkpoints", folder / "run" / "checkpoints")
    return {"model.embedding_size": 48}


def no_checkpoint(job: MainJob, folder: Path) -> dict[str, Any]:
    return {"test_only": True}


def half_precision_without_gpu(job: MainJob, folder: Path) -> dict[str, Any]:
    return {"precision": "fp16", "device": "cpu"}


def no_yaml(job: MainJob, folder: Path) -> dict[str, Any]:
    return {"run_file": "hparams/absent.yaml"}


CASES: dict[Make, list[str]] = {
    wrong_keys: [
        "hparams/train.yaml: 4 faults",
        "--num_epoch: is no key of train.yaml; did you mean num_epochs?",
        "--lr: is 'fast'; expected a number",
        "--precision: is 'fp8'; expected one of",
        "--model.rnn_layer: is no key",
    ],
    missing_corpus: ["nowhere", "expected"],
    missing_test_corpus: ["prepare_librispeech", "nowhere", "expected"],
    other_tokenizer: ["tokenizer_bpe_80", "vocab_size is 70, was 80", "expected the same"],
    other_corpus_options: ["synthetic_prepare", "hours was 0.05, now 0.06", "expected the same"],
    other_exclude_list: ["shards", "fingerprint was", "expected the same"],
    cut_shard: ["shards/train", "shard-000000.tar", "bytes", "expected"],
    changed_index: ["shards/train", "index.json", "checksum", "expected"],
    other_model: ["CKPT+", "embedding", "expected"],
    no_checkpoint: ["test_only: no checkpoint with 'wer'", "checkpoints", "train first"],
    half_precision_without_gpu: ["fp16", "CPU", "bf16"],
    no_yaml: ["hparams/absent.yaml", "cannot be read", "expected a YAML file"],
}


@pytest.fixture(scope="module")
def ends(main_job: MainJob, tmp_path_factory: pytest.TempPathFactory) -> dict[Make, Done]:
    """How each command ended."""
    commands = []
    for make in CASES:
        folder = tmp_path_factory.mktemp(make.__name__)
        options = {"work_folder": main_job.work, **CORPUS, **make(main_job, folder)}
        run_file = options.pop("run_file", "hparams/train.yaml")
        if "data_folder" in options:
            options = {key: options[key] for key in ("data_folder", "precision", "work_folder")}
        commands.append(train_command(run_file, folder / "run", **options)[2:])
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.forking"],
        input=json.dumps(commands),
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=True,
    )
    results = [Done(**result) for result in json.loads(done.stdout)]
    return dict(zip(CASES, results, strict=True))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_bad_input_message_names_place_fault_and_expectation(ends, case):
    assert ends[case].code != 0
    said = ends[case].said
    missing = [part for part in CASES[case] if part not in said]
    assert not missing, said[-3000:]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_bad_input_shows_no_traceback(ends, case):
    assert "Traceback" not in ends[case].said
