"""Speech translation by command: from speech to BLEU, on ranks as on one, and fine-tuning."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.integration.commands import (
    Done,
    log_rows,
    parameters,
    run,
    run_json,
    train_command,
)

pytestmark = pytest.mark.multiproc

HPARAMS = "recipes/MuSTC/ST/conformer/hparams"
EPOCHS = 3
TOLERANCE = 1e-5
SMALL = {
    "corpus.hours": 0.03, "corpus.num_jobs": 1, "source_vocab_size": 60, "target_vocab_size": 70,
    "model.subsampler_size": 16, "model.d_model": 16, "model.num_heads": 2, "model.d_ffn": 16,
    "model.num_blocks": 2, "model.ctc_block": 1, "model.decoder_layers": 1, "model.dropout": 0.0,
    "model.max_target_tokens": 8, "model.beam_size": 2, "spec_augment": None, "num_threads": 1,
    "max_batch_s": 8.0, "valid_batch_s": 8.0, "num_warmup": 1, "num_epochs": EPOCHS,
}  # fmt: skip


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of corpus, shards and tokens."""
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def alone(work: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    """A run on one process; an update is two micro-batches, an epoch is an update."""
    output = tmp_path_factory.mktemp("alone")
    options = {**SMALL, "work_folder": work, "batches_per_epoch": 2, "grad_accumulation_factor": 2}
    return output, run(train_command(f"{HPARAMS}/small.yaml", output, **options)).check()


def test_run_ends_with_scores_signatures_and_translations(alone):
    output, done = alone
    assert "BLEU" in done.out
    record = run_json(output)
    result = record["results"]["test"]
    assert record["updates"] == EPOCHS
    assert set(result) >= {"bleu", "chrf", "length_ratio", "loss", "ctc_loss", "compression"}
    assert result["signatures"]["bleu"].startswith("nrefs:1|case:mixed|eff:no|tok:13a")
    blocks = (output / "translations" / "test.txt").read_text(encoding="utf-8").split("\n\n")
    assert len([block for block in blocks if block.strip()]) == result["utterances"] >= 2
    assert json.loads((output / "train_log.jsonl").read_text().splitlines()[0])["stage"] == "valid"


def test_two_ranks_equal_one_process_that_accumulates(alone, work, tmp_path):
    shared = {**SMALL, "work_folder": work, "batches_per_epoch": 1}
    run(train_command(f"{HPARAMS}/small.yaml", tmp_path, processes=2, **shared)).check()
    one, two = alone[0], tmp_path
    assert run_json(two)["world_size"] == 2
    for name in ("train_loss", "loss", "bleu", "chrf", "ctc_loss", "compression"):
        figures = [[row[name] for row in log_rows(folder)] for folder in (one, two)]
        assert figures[1] == pytest.approx(figures[0], rel=TOLERANCE), name
    weights = parameters(two)
    for key, value in parameters(one).items():
        assert torch.allclose(weights[key], value, rtol=1e-3, atol=1e-5), key


def test_run_cut_in_mid_epoch_goes_on_to_the_same_weights(work, tmp_path):
    options = {**SMALL, "work_folder": work, "model.dropout": 0.1, "num_epochs": 2}

    def fit(name: str, max_updates: int) -> None:
        command = train_command(
            f"{HPARAMS}/small.yaml", tmp_path / name, **options, max_updates=max_updates
        )
        run(command).check()

    fit("whole", 5)
    fit("cut", 2)
    assert run_json(tmp_path / "cut")["updates"] == 2
    fit("cut", 5)
    assert run_json(tmp_path / "cut")["updates"] == 5
    weights, resumed = (parameters(tmp_path / name) for name in ("whole", "cut"))
    assert weights.keys() == resumed.keys()
    assert all(torch.equal(weights[key], resumed[key]) for key in weights)
    losses = [log_rows(tmp_path / name)[-1]["loss"] for name in ("whole", "cut")]
    assert losses[0] == losses[1]


@pytest.mark.slow
def test_fine_tuning_starts_anew_once(alone, work, tmp_path):
    def finetune(name: str, **changes: Any) -> Path:
        options = {**SMALL, "work_folder": work, "init_folder": alone[0], "batches_per_epoch": 2}
        output = tmp_path / name
        run(train_command(f"{HPARAMS}/small_finetune.yaml", output, **options | changes)).check()
        return output

    # With a rate of 0 the parameters are still those of the run that it started from.
    still = run_json(finetune("still", num_epochs=1, lr=0.0))
    assert still["updates"] == 2
    tested = run_json(alone[0])["results"]["test"]["loss"]
    assert still["results"]["test"]["loss"] == pytest.approx(tested, rel=1e-4)
    # Given again, the command goes on: parameters, Adam's moments, order of the data.
    whole, cut = finetune("whole", num_epochs=2), finetune("cut", num_epochs=1)
    assert [row["updates"] for row in log_rows(whole)] == [2, 4]
    assert finetune("cut", num_epochs=2) == cut
    assert [row["updates"] for row in log_rows(cut)] == [2, 4]
    weights, resumed = parameters(whole), parameters(cut)
    assert all(torch.equal(resumed[key], value) for key, value in weights.items())
    before = parameters(alone[0])
    assert not all(torch.equal(before[key], value) for key, value in weights.items())


@pytest.mark.slow
def test_hogwild_trains_it_too(work, tmp_path):
    options = {**SMALL, "work_folder": work, "hogwild.num_threads": 1}
    words = train_command(f"{HPARAMS}/small_hogwild.yaml", tmp_path, **options)
    run(["train_hogwild.py" if word == "train.py" else word for word in words]).check()
    record = run_json(tmp_path)
    assert record["updates"] == sum(record["hogwild"]["updates_by_worker"])
    assert record["results"]["test"]["bleu"] >= 0.0
