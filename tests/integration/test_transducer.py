"""The transducer's small run file, as a command: trains, and shares updates among ranks."""

import pytest
import torch

from tests.integration.commands import log_rows, parameters, run, run_json, train_command
from tests.integration.conftest import MainJob
from tests.unit.recipes.transducer.brains import PLAIN, SMALL_LAMB

RUN_FILE = "recipes/LibriSpeech/ASR/transducer/hparams/small.yaml"
TOLERANCE = 1e-5
SMALL = {
    "corpus.hours": 0.05,
    "corpus.num_jobs": 1,
    "vocab_size": 60,
    "global_batch": 8,
    "micro_batch": 8,
    "model.enc_size": 24,
    "model.embedding_size": 12,
    "model.pred_size": 16,
    "model.joint_size": 16,
    "max_tokens": 20,
}


def test_small_run_file_trains_and_tests(main_job: MainJob, tmp_path):
    options = {**SMALL, "work_folder": main_job.work, "num_epochs": 1}
    assert "WER %" in run(train_command(RUN_FILE, tmp_path, **options)).check().out
    record = run_json(tmp_path)
    assert record["updates"] == 4
    assert record["results"]["test"]["utterances"] == 5
    assert [row["epoch"] for row in log_rows(tmp_path)] == [1]


@pytest.mark.slow
@pytest.mark.multiproc
def test_two_ranks_equal_one_with_the_same_global_batch(main_job: MainJob, tmp_path):
    options = {**SMALL, **PLAIN, "work_folder": main_job.work, "num_epochs": 1, "max_updates": 3}
    one, two = tmp_path / "one", tmp_path / "two"
    run(train_command(str(SMALL_LAMB), one, **options)).check()
    shared = {**options, "micro_batch": 2}  # two ranks, two parts each
    run(train_command(str(SMALL_LAMB), two, processes=2, **shared)).check()
    assert run_json(two)["world_size"] == 2
    assert run_json(one)["updates"] == run_json(two)["updates"] == 3
    losses = [[row["train_loss"] for row in log_rows(folder)] for folder in (one, two)]
    assert losses[0] == pytest.approx(losses[1], rel=TOLERANCE)
    first, second = parameters(one), parameters(two)
    for name in first:
        assert torch.allclose(first[name], second[name], rtol=0.0, atol=TOLERANCE), name


@pytest.mark.slow
@pytest.mark.multiproc
def test_hogwild_trains_it(main_job: MainJob, tmp_path):
    run_file = RUN_FILE.replace("small", "train_hogwild")
    command = train_command(
        run_file, tmp_path, **SMALL, work_folder=main_job.work, num_epochs=1, updates_per_epoch=4
    )
    command[command.index("train.py")] = "train_hogwild.py"
    run(command).check()
    assert run_json(tmp_path)["updates"] == 4
