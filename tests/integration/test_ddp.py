"""Two processes (DDP over gloo) train as one process that accumulates two batches."""

import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import ROOT
from tests.integration.commands import SMALL, log_rows, parameters, run, run_json, train_command
from tests.integration.conftest import MainJob

pytestmark = pytest.mark.multiproc

UPDATES = 5
TOLERANCE = 1e-5
EQUAL = {**SMALL, "model.dropout": 0.0, "num_warmup": 1, "num_epochs": UPDATES, "num_workers": 0}
ALONE = {"valid_batch_s": 8.0}
"""Each utterance of validation and test alone, however they are dealt: the encoder sees padding."""
WITHOUT_BATCH_NORM = {"model.dnn_blocks": 0, "model.dnn_neurons": 64}
"""BatchNorm is in the encoder's last blocks only; 64 is the width of the LSTM's output."""
LEAVE = """
import os
import torch
from speechbrain.utils.run_opts import RunOptions
from recipes.common.brain import StampedeBrain
from recipes.common.distributed import distributed_session

with distributed_session(RunOptions()) as run_opts:
    brain = StampedeBrain({"net": torch.nn.Linear(2, 2)}, run_opts=run_opts)
    brain._wrap_distributed()
    brain.modules.net(torch.ones(1, 2)).sum().backward()
names = [open(f"/proc/self/task/{task}/comm").read() for task in os.listdir("/proc/self/task")]
print("gloo" in "".join(names), type(brain.modules.net).__name__)
"""


@dataclass(frozen=True)
class Pair:
    """Folders of a run on one process and of the same on two."""

    one: Path
    two: Path

    def figures(self, name: str, stage: str = "valid") -> tuple[list[Any], list[Any]]:
        """Return a figure of all updates, of both."""
        one, two = (log_rows(folder, stage) for folder in (self.one, self.two))
        return [row[name] for row in one], [row[name] for row in two]


def pair(work: Path, folder: Path, **options: Any) -> Pair:
    """Run both. An epoch is one update, so that each update is logged and validated.

    Rank r of two takes global batch 2k + r: at each update both runs see the same two batches.
    """
    one, two = folder / "one", folder / "two"
    options = {**EQUAL, **ALONE, **options, "work_folder": work}
    single = {**options, "batches_per_epoch": 2, "grad_accumulation_factor": 2}
    run(train_command("hparams/train.yaml", one, **single)).check()
    shared = {**options, "batches_per_epoch": 1}
    run(train_command("hparams/train_ddp.yaml", two, processes=2, **shared)).check()
    assert run_json(two)["world_size"] == 2
    return Pair(one, two)


@pytest.fixture(scope="module")
def normed(main_job: MainJob, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """The model as it is."""
    return pair(main_job.work, tmp_path_factory.mktemp("normed"))


@pytest.fixture(scope="module")
def plain(main_job: MainJob, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """The model without BatchNorm, whose running statistics are rank 0's under DDP."""
    return pair(main_job.work, tmp_path_factory.mktemp("plain"), **WITHOUT_BATCH_NORM)


@pytest.mark.parametrize("name", ["normed", "plain"])
def test_ddp_training_losses_equal_those_of_accumulation(name, request):
    one, two = request.getfixturevalue(name).figures("train_loss")
    assert len(one) == UPDATES
    assert len(set(one)) == UPDATES
    assert two == pytest.approx(one, rel=TOLERANCE)


@pytest.mark.parametrize("name", ["normed", "plain"])
def test_ddp_parameters_equal_those_of_accumulation(name, request):
    both = request.getfixturevalue(name)
    one, two = parameters(both.one), parameters(both.two)
    assert one.keys() == two.keys()
    for key in one:
        if "running_" not in key and "num_batches_tracked" not in key:
            assert torch.allclose(one[key], two[key], rtol=1e-3, atol=1e-5), key


def test_ddp_validation_and_test_equal_those_of_accumulation(plain):
    for name in ("wer", "wer_p", "cer_p"):
        assert plain.figures(name)[0] == plain.figures(name)[1]
    one, two = plain.figures("loss")
    assert two == pytest.approx(one, rel=TOLERANCE)
    one, two = (run_json(folder)["results"]["test"] for folder in (plain.one, plain.two))
    assert two.pop("loss") == pytest.approx(one.pop("loss"), rel=TOLERANCE)
    assert one == two


def test_ddp_session_end_leaves_no_gloo_thread():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    group = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
    done = subprocess.run(
        [sys.executable, "-c", LEAVE],
        cwd=ROOT,
        env={**os.environ, **group, "MASTER_PORT": str(port)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.split() == ["False", "DistributedDataParallel"], done.stderr[-3000:]
