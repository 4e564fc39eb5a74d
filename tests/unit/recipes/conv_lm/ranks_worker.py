"""What each of two gloo processes does for test_model.py; gradients go into a file each."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from speechbrain.utils.run_opts import RunOptions
from torch.nn.parallel import DistributedDataParallel

from recipes.common.distributed import distributed_session
from recipes.LibriSpeech.LM.conv_lm.model import ConvLM

LAYERS = [[8, 3, 1], [4, 1, 0], [4, 3, 0], [12, 1, 3], [12, 2, 1]]


def make_model() -> ConvLM:
    """Return a model of 16 words in clusters of 6, 4 and 6."""
    torch.manual_seed(0)
    return ConvLM(16, LAYERS, embedding_size=6, out_size=None, dropout=0.0, cutoffs=[6, 10])


def targets_of(rank: int) -> torch.Tensor:
    """Return the words of a rank: the first has no word of the tails, the second one of each."""
    return torch.tensor([[[2, 3, 4, 5]], [[2, 7, 12, 3]]][rank])


def gradients(model: torch.nn.Module, rank: int) -> dict[str, torch.Tensor]:
    """Return the gradients of a rank's mean loss by the names of the parameters."""
    targets = targets_of(rank)
    model.zero_grad()
    model(targets.roll(1, 1), targets).mean().backward()
    return {name.removeprefix("module."): p.grad for name, p in model.named_parameters()}


def main(number: int, port: int, folder: Path) -> None:
    """Join the group, do two backward passes: DDP tells in the second what the first lacked."""
    os.environ.update(RANK=str(number), LOCAL_RANK=str(number), WORLD_SIZE="2")
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    with distributed_session(RunOptions(distributed_backend="gloo")):
        model = DistributedDataParallel(make_model())
        for _ in range(2):
            found = gradients(model, number)
    torch.save(found, folder / f"rank{number}.pt")
