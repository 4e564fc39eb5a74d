"""Two GPUs, one of which has an overflow: both try the update again and stay equal."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from speechbrain.utils.run_opts import RunOptions

from benchmarks import wav2letter_task as tasks
from benchmarks.wav2letter_task import SMALL, LetterPieces, Task
from recipes.common.distributed import distributed_session

NUM_UPDATES = 20
BAD_UPDATE = 5


def overflow_on_one_rank(port: int) -> dict[str, Any]:
    """Train on two GPUs; return whether both repeated an update and ended alike."""
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(train_rank, args=(port, Path(folder)), nprocs=2)
        first, second = (torch.load(Path(folder) / f"{n}.pt", weights_only=True) for n in (0, 1))
    is_equal = torch.equal(first["weights"], second["weights"])
    retries = [found["retries"] for found in (first, second)]
    return {"is_good": is_equal and retries[0] == retries[1] >= 1, "retries": str(retries)}


def train_rank(number: int, port: int, folder: Path) -> None:
    """Train on one GPU of two; rank 1 has an infinite gradient in one update."""
    os.environ.update(RANK=str(number), LOCAL_RANK=str(number), WORLD_SIZE="2")
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    with distributed_session(RunOptions()) as run_opts:
        options = {"distributed_backend": run_opts.distributed_backend}
        device = f"cuda:{number}"
        task = Task("conv_glu", device, "fp16", sizes=SMALL["conv_glu"], run_opts=options)
        brain = tasks.make_brain(task, is_distributed=True)
        rows = tasks.made_up(8, seconds=1.0, seed=number)
        batches = tasks.batches_of(rows, 4, LetterPieces(has_end=False))
        tasks.train(brain, batches, BAD_UPDATE)
        if number == 1:
            param = next(brain.modules["network"].parameters())
            handle = param.register_hook(lambda grad: grad * torch.inf)
            apply = brain.scaler.update
            brain.scaler.update = lambda: (handle.remove(), apply())
        tasks.train(brain, batches, NUM_UPDATES - BAD_UPDATE)
        weights = torch.cat([p.detach().flatten().cpu() for p in brain.modules.parameters()])
        torch.save(
            {"weights": weights, "retries": brain.scaler.num_retries}, folder / f"{number}.pt"
        )
