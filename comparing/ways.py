"""The ways to train one model on the same data: their commands and what an update holds."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TORCHRUN = ("-m", "torch.distributed.run", "--standalone")


@dataclass(frozen=True)
class Way:
    """One way to train.

    Arguments
    ---------
    name : str
        For tables and folders.
    about : str
        One line for people.
    entry : str
        Program of the project's root.
    ranks : int
        Processes under torchrun; 0: no torchrun.
    batch : float
        Batch of a process, relative to that of the comparison.
    updates : float
        Updates per utterance, relative to one process with the comparison's batch.
    options : Mapping[str, Any]
        Of the run's command line.
    """

    name: str
    about: str
    entry: str = "train.py"
    ranks: int = 0
    batch: float = 1.0
    updates: float = 1.0
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def command(self) -> list[str]:
        """The program, without the run file."""
        launcher = [*TORCHRUN, f"--nproc_per_node={self.ranks}"] if self.ranks else []
        return [sys.executable, *launcher, self.entry]


def ways_of(processes: int) -> dict[str, Way]:
    """Return all ways by name.

    Arguments
    ---------
    processes : int
        Ranks, workers, or micro-batches of an update; > 1.

    Returns
    -------
    dict of str to Way
        In the order of tables.
    """
    num = processes
    workers = {"hogwild.num_workers": num}
    ways = [
        Way("one", "one process"),
        Way("one_all_cores", "one process, threads on all cores", options={"num_threads": None}),
        Way(
            "accumulation",
            f"one process, {num} batches an update",
            updates=1 / num,
            options={"grad_accumulation_factor": num},
        ),
        Way("small_batch", f"one process, 1/{num} of the batch", batch=1 / num, updates=num),
        Way("ddp", f"DDP, {num} ranks, a batch each", ranks=num, updates=1 / num),
        Way(
            "ddp_small_batch",
            f"DDP, {num} ranks, 1/{num} of the batch each",
            "train.py",
            num,
            1 / num,
        ),
        Way(
            "hogwild", f"Hogwild, {num} workers, a batch each", "train_hogwild.py", options=workers
        ),
        Way(
            "hogwild_twice",
            f"Hogwild, {2 * num} workers, a batch each",
            "train_hogwild.py",
            options={"hogwild.num_workers": 2 * num},
        ),
        Way(
            "hogwild_small_batch",
            f"Hogwild, {num} workers, 1/{num} of the batch each",
            "train_hogwild.py",
            batch=1 / num,
            updates=num,
            options=workers,
        ),
    ]
    return {way.name: way for way in ways}
