"""The recipe's Brain learns eight utterances by heart."""

from pathlib import Path

import pytest
import torch
from speechbrain.utils.epoch_loop import EpochCounter

import train
from data_prepare.stream import ShardLoader
from recipes.common.brain import StampedeBrain
from recipes.common.hparams import load_run
from recipes.common.run_log import RunLog
from tests.integration.commands import CORPUS
from tests.integration.conftest import MainJob

UPDATES_PER_EPOCH, NUM_EPOCHS = 25, 2
BOUND = 1.0
"""Mean loss a token over the last half of the updates; measured 0.22 to 0.38 with three seeds."""
OPTIONS = {
    **CORPUS,
    "model.dropout": 0.0,
    "label_smoothing": 0.0,
    "model.time_pooling": 2,  # so that CTC has frames enough for the short tokens
    "lr": 0.01,
    "num_warmup": 5,
    "seed": 2,
}


def first(items: list[object]) -> object:
    return items[0]


@pytest.fixture
def brain(main_job: MainJob, tmp_path: Path) -> StampedeBrain:
    """The main job's Brain, its model new."""
    words = ["hparams/train.yaml", "--work_folder", main_job.work, "--output_folder", tmp_path]
    for key, value in OPTIONS.items():
        words += [f"--{key}", value]
    run = load_run([str(word) for word in words])
    brain = train.build_brain(run, run.run_opts, run_log=RunLog(tmp_path))
    brain.tokenizer = run.hparams["tokenizer"]()
    return brain


def test_brain_overfits_one_batch(main_job: MainJob, brain: StampedeBrain):
    folder = main_job.work / "shards" / "train"
    encode = brain.hparams.transforms[0](brain.tokenizer)
    options = {"max_batch_s": 60.0, "max_utterances": 8, "order": "ascending"}
    batch = ShardLoader(folder, transforms=encode, **options).fetch(0)
    assert len(batch.id) == 8
    batches = torch.utils.data.DataLoader([batch] * UPDATES_PER_EPOCH, collate_fn=first)
    brain.fit(EpochCounter(NUM_EPOCHS), batches, progressbar=False)
    assert brain.optimizer_step == UPDATES_PER_EPOCH * NUM_EPOCHS
    assert not brain.num_infeasible
    assert brain.train_loss < BOUND
