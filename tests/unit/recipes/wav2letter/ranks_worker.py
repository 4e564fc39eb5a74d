"""What each of two gloo processes does for test_training_ranks.py; results go into a file each."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from speechbrain.utils.run_opts import RunOptions

from recipes.common.distributed import distributed_session, rank
from recipes.LibriSpeech.wav2letter.scaler import RetryScaler
from tests.unit.recipes.common.toy import ToyLoader
from tests.unit.recipes.wav2letter.toy import PHASE, batches, make_brain, weights

SIZES = [2, 3, 1, 4, 2, 5, 1, 3, 6, 2]
PHASES = [{**PHASE, "max_grad_norm": 0.5, "linseg_epochs": 1, "num_epochs": 1}, PHASE]


def main(number: int, port: int, folder: Path) -> None:
    """Join the group, run every scenario, leave the group."""
    os.environ.update(RANK=str(number), LOCAL_RANK=str(number), WORLD_SIZE="2")
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    with distributed_session(RunOptions()):
        results = {
            "plain": run({}),
            "gradient": run({2: "net"} if number == 1 else {}),
            "loss": run({3: "loss"} if number == 0 else {}),
        }
    torch.save(results, folder / f"rank{number}.pt")


def run(poison: dict[int, str]) -> dict[str, Any]:
    """Train on shared batches, with an overflow on this rank if it is given."""
    brain, counter = make_brain(phases=PHASES, run_opts={"distributed_backend": "gloo"})
    brain.use_scaler(RetryScaler())
    brain.poison = poison
    loaders = [ToyLoader(batches(SIZES), rank=rank(), world_size=2) for _ in range(2)]
    brain.fit(counter, *loaders)
    retries = brain.scaler.num_retries
    return {"weights": weights(brain), "retries": retries, "updates": brain.optimizer_step}
