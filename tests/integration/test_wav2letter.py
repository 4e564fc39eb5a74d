"""The small wav2letter recipes from their command, on a minute of made-up speech."""

import math
import sys
from pathlib import Path

import pytest

from tests.integration.commands import log_rows, run, run_json, train_command

pytestmark = pytest.mark.multiproc
RECIPES = "recipes/LibriSpeech/ASR"
CORPUS = {"corpus.hours": 0.02, "corpus.num_jobs": 1, "vocab_size": 60}
LETTERS = {"model.channels": "[8, 8]", "model.kernels": "[5, 5]", "model.hidden": 8}
TINY = {
    "conv_glu": LETTERS,
    "lexicon_free": LETTERS,
    "seq2seq_tds": {"model.tds_channels": "[2, 2, 2]", "model.decoder_size": 16},
}
LETTER_TOKENS = ("letters_2", 30)
TOKENS = {
    **{"conv_glu": LETTER_TOKENS, "lexicon_free": LETTER_TOKENS},
    **{"seq2seq_tds": ("pieces_60", 58)},
}
"""Folder and number of the tokens."""
MAX_PEAK_MIB = 1536
PEAK = (
    "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:]); "
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr); sys.exit(code)"
)
"""Runs a command and tells the memory of its largest process, in KiB."""


def options_of(name: str, work: Path, **options: object) -> dict[str, object]:
    found = {**CORPUS, **options, "work_folder": work}
    if name != "seq2seq_tds":
        del found["vocab_size"]
    return found


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    """Folder of corpus, shards and tokens."""
    return tmp_path_factory.mktemp("work")


@pytest.mark.parametrize(
    ("name", "precision"),
    [("conv_glu", "bf16"), ("lexicon_free", "fp32"), ("seq2seq_tds", "fp32")],
)
def test_small_recipe_prepares_trains_an_epoch_and_tests_within_its_memory(
    work, tmp_path, name, precision
):
    options = options_of(name, work, num_epochs=1, precision=precision)
    command = train_command(f"{RECIPES}/{name}/hparams/small.yaml", tmp_path, **options)
    done = run([sys.executable, "-c", PEAK, *command]).check()
    assert int(done.err.splitlines()[-1]) / 1024 < MAX_PEAK_MIB
    record = run_json(tmp_path)
    assert record["precision"] == precision
    assert record["updates"] == record["train_data"]["num_batches"] > 1
    assert set(record["results"]) == {"test-clean", "test-other"}
    assert record["results"]["test-clean"]["wer"] > 0
    assert math.isfinite(log_rows(tmp_path)[-1]["loss"])
    assert (tmp_path / "alignments" / "test-other.txt").is_file()
    folder, num_tokens = TOKENS[name]
    assert len((work / folder / "tokens.txt").read_text().splitlines()) == num_tokens


def test_half_precision_without_gpu_is_told(work, tmp_path):
    options = options_of("conv_glu", work, precision="fp16", device="cpu")
    done = run(train_command(f"{RECIPES}/conv_glu/hparams/small.yaml", tmp_path, **options))
    assert done.code != 0
    assert not [word for word in ("fp16", "CPU", "bf16") if word not in done.said], done.said
    assert "Traceback" not in done.said


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_small_recipe_trains_by_processes_without_locks_and_by_ranks(work, tmp_path, name):
    options = options_of(name, work, **TINY[name], max_updates=4, device="cpu")
    path = f"{RECIPES}/{name}/hparams/small_hogwild.yaml"
    command = train_command(path, tmp_path / "hogwild", **options)
    command[command.index("train.py")] = "train_hogwild.py"
    run(command).check()
    ranks = {**options, "distributed_backend": "gloo"}
    path = f"{RECIPES}/{name}/hparams/small.yaml"
    run(train_command(path, tmp_path / "ranks", processes=2, **ranks)).check()
    for folder in ("hogwild", "ranks"):
        assert run_json(tmp_path / folder)["updates"] == 4
