"""Runs of the toy Brain by workers: what they are given, and what came of it."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from hogwild.launch import fit
from hogwild.options import HogwildOptions
from hogwild.protocols import Trainee
from recipes.common.rng import rng_state, seed_streams, set_rng_state
from tests.unit.recipes.common.toy import Batch, ToyBrain, make_batches, make_brain

SIZES = [4, 2, 3, 4, 5, 4, 2, 3, 4, 2, 3]


@dataclass
class ToyBatches:
    """Batches by number; every pass is the same."""

    batches: list[Batch]

    def num_batches(self, pass_number: int = 0) -> int:
        return len(self.batches)

    def fetch(self, number: int, *, pass_number: int = 0) -> Batch:
        return self.batches[number]


@dataclass(frozen=True)
class Toy:
    """A Brain and its data, made anew in each process."""

    brain: dict[str, Any] = field(default_factory=dict)
    sizes: tuple[int, ...] = tuple(SIZES)
    rate: float = 0.01
    schedule: bool = False
    optimizer: str = "adam"

    def make(self, folder: Path | None = None, epochs: int = 2) -> tuple[ToyBrain, Any]:
        hparams: dict[str, Any] = {"update_schedule": falling} if self.schedule else {}
        hparams |= self.brain.get("hparams", {})
        kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
        options = {"lr": self.rate, **({"momentum": 0.5} if self.optimizer == "sgd" else {})}
        return make_brain(
            **{**self.brain, "hparams": hparams},
            folder=folder,
            epochs=epochs,
            optimizer=lambda params: kinds[self.optimizer](params, **options),
        )

    def batches(self) -> ToyBatches:
        return ToyBatches(make_batches(list(self.sizes)))


def falling(update: int) -> float:
    """Return a rate that falls with the updates."""
    return 0.05 / (update + 1)


def make_trainee(worker: int, toy: Toy, *_rest: Any) -> Trainee:
    """Make what a worker trains with."""
    brain, _ = toy.make()
    return Trainee(brain, toy.batches(), partial(seed_streams, 1), rng_state, set_rng_state)


def make_noting_trainee(worker: int, toy: Toy, folder: str) -> Trainee:
    """Make a trainee that notes a random number, and its own BatchNorm statistics."""
    trainee = make_trainee(worker, toy)
    norm, note = trainee.brain.modules.net.norm, {}

    def forward(batch: Any, stage: Any) -> Any:
        note.setdefault("drawn", torch.rand(()))
        outputs = type(trainee.brain).compute_forward(trainee.brain, batch, stage)
        note.update(mean=norm.running_mean.clone(), num_batches=norm.num_batches_tracked.clone())
        torch.save(note, Path(folder) / f"{worker}.pt")
        return outputs

    trainee.brain.compute_forward = forward
    return trainee


def make_mortal_trainee(worker: int, toy: Toy, folder: str) -> Trainee:
    """Make a trainee that notes a random number in each life; worker 0 is killed in its first.

    Worker 1 waits after its first batch for the second life, so that there is work left for it.
    """
    trainee = make_trainee(worker, toy)
    lives = len(list(Path(folder).glob(f"{worker}-*.pt")))

    def forward(batch: Any, stage: Any) -> Any:
        path = Path(folder) / f"{worker}-{lives}.pt"
        if not path.exists():
            torch.save(torch.rand(()), path)
        elif worker == lives == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        elif worker == 1:
            wait_for(Path(folder) / "0-1.pt")
        return type(trainee.brain).compute_forward(trainee.brain, batch, stage)

    trainee.brain.compute_forward = forward
    return trainee


def wait_for(path: Path, *, limit_s: float = 120.0) -> None:
    """Wait for another process to write a file."""
    end_s = time.monotonic() + limit_s
    while not path.exists():
        assert time.monotonic() < end_s, f"no {path.name} within {limit_s} s"
        time.sleep(0.02)


@dataclass
class Ran:
    """A run that has ended."""

    brain: ToyBrain
    figures: list[dict[str, Any]]
    ended: dict[str, Any]


def train(
    toy: Toy,
    *,
    folder: Path | None = None,
    epochs: int = 2,
    factory: Any = make_trainee,
    valid: Any = True,
    arguments: tuple[Any, ...] = (),
    validate_average: Any = None,
    kill_after: int | None = None,
    **options: Any,
) -> Ran:
    """Train a toy by workers; `valid` may make the validation data from the parent's Brain."""
    brain, counter = toy.make(folder, epochs)
    note = brain.on_update_end

    def note_or_stop(report: Any) -> None:
        note(report)
        if report.number == kill_after:
            raise KeyboardInterrupt

    brain.on_update_end = note_or_stop  # type: ignore[method-assign]
    figures: list[dict[str, Any]] = []
    valid_set = valid(brain) if callable(valid) else make_batches([4, 3]) if valid else None
    # One worker has as many threads as there are here: sums depend on their number.
    threads = torch.get_num_threads() if options.get("num_workers", 1) == 1 else 1
    ended = fit(
        brain,
        HogwildOptions(**{"num_workers": 1, "report_every": 1, "num_threads": threads, **options}),
        factory=factory,
        arguments=lambda: (toy, *arguments),
        batches=toy.batches(),
        epochs=counter,
        valid_set=valid_set,
        on_epoch=figures.append,
        validate_average=lambda _, __: validate_average and validate_average(brain),
    )
    return Ran(brain, figures, ended)
