"""The small wav2letter recipes from their command, on a minute of made-up speech."""

import math
from pathlib import Path

import pytest

from tests.integration.commands import log_rows, run, run_json, train_command

pytestmark = pytest.mark.multiproc
RECIPES = "recipes/LibriSpeech/ASR"
COMMON = {"corpus.hours": 0.02, "corpus.num_jobs": 1, "max_updates": 4}
SMALL = {
    "conv_glu": {"model.channels": "[8, 8]", "model.kernels": "[5, 5]", "model.hidden": 8},
    "seq2seq_tds": {"vocab_size": 60, "model.tds_channels": "[2, 2, 2]", "model.decoder_size": 16},
}


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    """Folder of corpus, shards and tokens."""
    return tmp_path_factory.mktemp("work")


@pytest.mark.parametrize(("name", "precision"), [("conv_glu", "bf16"), ("seq2seq_tds", "fp32")])
def test_small_recipe_prepares_trains_and_tests(work, tmp_path, name, precision):
    options = {**COMMON, **SMALL[name], "work_folder": work, "precision": precision}
    run(train_command(f"{RECIPES}/{name}/hparams/small.yaml", tmp_path, **options)).check()
    record = run_json(tmp_path)
    assert (record["precision"], record["updates"]) == (precision, 4)
    assert set(record["results"]) == {"test-clean", "test-other"}
    assert record["results"]["test-clean"]["wer"] > 0
    assert math.isfinite(log_rows(tmp_path)[-1]["loss"])
    assert (tmp_path / "alignments" / "test-other.txt").is_file()
    assert len((work / ("letters_2" if name == "conv_glu" else "pieces_60") / "tokens.txt")
               .read_text().splitlines()) == (30 if name == "conv_glu" else 58)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", ["conv_glu", "seq2seq_tds"])
def test_small_recipe_trains_by_processes_without_locks_and_by_ranks(work, tmp_path, name):
    options = {**COMMON, **SMALL[name], "work_folder": work, "device": "cpu"}
    path = f"{RECIPES}/{name}/hparams/small_hogwild.yaml"
    command = train_command(path, tmp_path / "hogwild", **options)
    command[command.index("train.py")] = "train_hogwild.py"
    run(command).check()
    ranks = {**options, "distributed_backend": "gloo"}
    path = f"{RECIPES}/{name}/hparams/small.yaml"
    run(train_command(path, tmp_path / "ranks", processes=2, **ranks)).check()
    for folder in ("hogwild", "ranks"):
        assert run_json(tmp_path / folder)["updates"] == 4
