"""What an update costs by itself: the plain optimizer, and each way to change shared memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.hogwild_task import Task
from hogwild.counters import Counters
from hogwild.options import HogwildOptions
from hogwild.pushing import Pusher, UpdateLock
from hogwild.shared import SharedModel

MILLION = 1_000_000


def push_costs(millions: list[int], *, repeats: int) -> list[dict[str, Any]]:
    """Return milliseconds of an update of each way, for models of some sizes.

    Arguments
    ---------
    millions : list[int]
        Sizes in millions of parameters.
    repeats : int
        Updates; their median counts.

    Returns
    -------
    list of dict
        "parameters", "way", "ms".
    """
    ways: dict[str, dict[str, Any] | None] = {
        "plain optimizer": None,
        "Hogwild, as it is": {"lookahead": 0.0},
        "Hogwild, looking ahead": {"num_workers": 2},
        "Hogwild, flock": {"lock": "flock"},
        "Hogwild, all moments shared": {"share_state": "all"},
        "Hogwild, pull and push": {"access": "pull_push"},
    }
    found = []
    for size in millions:
        for name, options in ways.items():
            parameters, update = prepared_update(size * MILLION, options)
            found.append({"parameters": parameters, "way": name, "ms": median_ms(update, repeats)})
    return found


def prepared_update(size: int, options: dict[str, Any] | None) -> tuple[int, Callable[[], None]]:
    """Return the number of parameters, and a function that applies one update."""
    task = Task("mlp", size=size // 60, examples=32)
    brain = task.brain()
    brain.init_optimizers()
    optimizers = [brain.optimizer]
    for param in brain.modules.parameters():
        param.grad = torch.full_like(param, 1e-3)
    parameters = sum(param.numel() for param in brain.modules.parameters())
    if options is None:
        return parameters, lambda: brain.apply_update(optimizers)
    own = HogwildOptions(**{"num_workers": 1, **options})
    shared = SharedModel(brain.modules, brain.optimizers_dict, own)
    lock = UpdateLock() if own.lock == "flock" else None
    pusher = Pusher(brain, shared, Counters(own.num_workers), worker=0, options=own, lock=lock)
    batch = task.fetch(0)

    def update() -> None:
        pusher.on_fit_batch_start(batch, True)
        brain.apply_update(optimizers)

    return parameters, update


def median_ms(update: Callable[[], None], repeats: int) -> float:
    """Return the median time of a call, after three to warm up."""
    times = []
    for number in range(repeats + 3):
        start = time.perf_counter()
        update()
        if number >= 3:
            times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)
