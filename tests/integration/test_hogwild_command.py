"""The main job by two workers, as a user runs it; with one worker it is train.py's run."""

from pathlib import Path
from typing import Any

import pytest
import torch

import train_hogwild
from hogwild.protocols import Trainee
from recipes.common.asynchronous import running_normalisers
from tests.integration.commands import (
    SMALL,
    checkpoints,
    log_rows,
    parameters,
    run,
    run_json,
    train_command,
)
from tests.integration.conftest import MainJob

pytestmark = pytest.mark.multiproc


def hogwild_command(output: Path, **options: Any) -> list[str]:
    """Return the command line of an asynchronous run."""
    words = train_command("hparams/train_hogwild.yaml", output, **options)
    return ["train_hogwild.py" if word == "train.py" else word for word in words]


def test_two_workers_train_and_test_the_main_job(main_job, tmp_path):
    options = {**SMALL, "work_folder": main_job.work, "num_epochs": 2}
    done = run(hogwild_command(tmp_path, **options, **{"hogwild.ema_decay": 0.9})).check()
    assert "WER %" in done.out
    record = run_json(tmp_path)
    assert record["updates"] == sum(record["hogwild"]["updates_by_worker"])
    assert record["hogwild"]["num_workers"] == 2
    assert sum(record["hogwild"]["utterances_by_worker"]) == 64
    assert record["results"]["test"]["utterances"] == 5
    assert [row["epoch"] for row in log_rows(tmp_path)] == [1, 2]
    assert len(log_rows(tmp_path, "valid of the average")) == 2
    assert log_rows(tmp_path, "hogwild")[-1]["restarts"] == 0
    assert (checkpoints(tmp_path)[-1] / "hogwild.ckpt").is_file()


def test_one_worker_is_the_plain_run_bit_for_bit(main_job: MainJob, tmp_path):
    options: dict[str, Any] = {**SMALL, "work_folder": main_job.work, "num_epochs": 1}
    options |= {"grad_accumulation_factor": 3, "max_grad_norm": 1.0, "max_updates": 6}
    plain, one = tmp_path / "plain", tmp_path / "one"
    run(train_command("hparams/train.yaml", plain, **options)).check()
    run(hogwild_command(one, **options, **{"hogwild.num_workers": 1})).check()
    models = [parameters(folder) for folder in (plain, one)]
    assert models[0].keys() == models[1].keys()
    assert all(torch.equal(value, models[1][name]) for name, value in models[0].items())
    rows = [log_rows(folder)[-1] for folder in (plain, one)]
    for name in ("updates", "train_loss", "loss", "wer", "cer_p"):
        assert rows[0][name] == rows[1][name], name
    assert run_json(plain)["results"] == run_json(one)["results"]


def make_noting_trainee(worker: int, *arguments: Any) -> Trainee:
    """Make a trainee that notes by what its Brain normalises, and the utterances it has seen."""
    trainee = make_plain_trainee(worker, *arguments)
    ((_, module),) = running_normalisers(trainee.brain)
    folder = Path(trainee.brain.hparams.output_folder)
    forward, num = trainee.brain.compute_forward, 0

    def note_forward(batch: Any, stage: Any) -> Any:
        nonlocal num
        outputs = forward(batch, stage)
        num += len(batch.id)
        torch.save({**module._statistics_dict(), "utterances": num}, folder / f"{worker}.pt")
        return outputs

    trainee.brain.compute_forward = note_forward
    return trainee


make_plain_trainee = train_hogwild.make_trainee


def test_global_normalisation_needs_statistics_before_the_start(
    main_job: MainJob, tmp_path, monkeypatch
):
    options = {**SMALL, "work_folder": main_job.work, "num_epochs": 1, "model.norm_type": "global"}
    done = run(hogwild_command(tmp_path / "refused", **options))
    assert done.code == 2
    assert "statistics_batches: is 0" in done.said
    monkeypatch.setattr(train_hogwild, "make_trainee", make_noting_trainee)
    command = hogwild_command(tmp_path / "fixed", **options, statistics_batches=3)
    assert train_hogwild.main(command[2:]) == 0
    saved = parameters(tmp_path / "fixed", "normalize")
    # Two workers have trained on all frames: what they normalise by is still that of 3 batches.
    assert 0 < saved["count"] <= 3 * SMALL["max_batch_s"] / 0.02
    notes = [torch.load(tmp_path / "fixed" / f"{worker}.pt") for worker in range(2)]
    assert sum(note.pop("utterances") for note in notes) == 32
    for note in notes:  # after the last batch of each worker
        assert note.keys() == saved.keys()
        assert all(torch.equal(torch.as_tensor(note[k]), torch.as_tensor(saved[k])) for k in saved)
    for row in ("updates_per_s_by_worker", "staleness_histogram"):
        assert log_rows(tmp_path / "fixed", "hogwild")[-1][row]
