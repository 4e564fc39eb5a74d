"""Two ranks, one of which has an overflow: both try the update again and stay equal."""

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
from recipes.LibriSpeech.wav2letter.scaler import RetryScaler

NUM_UPDATES = 20
BAD_UPDATE = 5


def overflow_on_one_rank(port: int, device: str, precision: str) -> dict[str, Any]:
    """Train on two ranks; return whether both repeated an update and ended alike.

    Arguments
    ---------
    port : int
        By which they meet.
    device : str
        "cuda": a GPU each; "cpu".
    precision : str
        "fp16" or "bf16".

    Returns
    -------
    dict[str, Any]
        `is_good`, and the `retries` of each rank.
    """
    with tempfile.TemporaryDirectory() as folder:
        arguments = port, device, precision, Path(folder)
        torch.multiprocessing.spawn(train_rank, args=arguments, nprocs=2)
        first, second = (torch.load(Path(folder) / f"{n}.pt", weights_only=True) for n in (0, 1))
    is_equal = torch.equal(first["weights"], second["weights"])
    retries = [found["retries"] for found in (first, second)]
    return {"is_good": is_equal and retries[0] == retries[1] >= 1, "retries": str(retries)}


def train_rank(number: int, port: int, device: str, precision: str, folder: Path) -> None:
    """Train on one rank of two; rank 1 has an infinite gradient in one update."""
    os.environ.update(RANK=str(number), LOCAL_RANK=str(number), WORLD_SIZE="2")
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    with distributed_session(RunOptions(device="cpu" if device == "cpu" else None)) as run_opts:
        options = {"distributed_backend": run_opts.distributed_backend}
        place = f"cuda:{number}" if device == "cuda" else device
        task = Task("conv_glu", place, precision, sizes=SMALL["conv_glu"], run_opts=options)
        brain = tasks.make_brain(task, is_distributed=True)
        brain.use_scaler(RetryScaler())  # in bf16 too, which has none otherwise
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
