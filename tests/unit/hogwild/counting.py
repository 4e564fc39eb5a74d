"""A Brain that counts: each batch has a parameter of its own, which an update lowers by 1.

After a run the parameters say how often each batch was applied, whatever the counters say.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from speechbrain import Stage
from speechbrain.utils.epoch_loop import EpochCounter
from torch import Tensor, nn

from hogwild.launch import fit
from hogwild.options import HogwildOptions
from hogwild.protocols import Trainee
from recipes.common.brain import StampedeBrain
from recipes.common.checkpointer import StampedeCheckpointer
from recipes.common.loss import LossSum
from recipes.common.rng import rng_state, seed_streams, set_rng_state

logger = logging.getLogger(__name__)
LIMIT_S = 6.0  # of an exchange between nodes, where one of them lags


@dataclass
class Numbered:
    """A batch that is its number."""

    number: int
    id: list[str]
    is_padding: bool = False
    ends_epoch: bool = False


@dataclass(frozen=True)
class Plan:
    """Batches by number."""

    size: int
    is_warning: bool = False

    def num_batches(self, pass_number: int = 0) -> int:
        return self.size

    def fetch(self, number: int, *, pass_number: int = 0) -> Numbered:
        if self.is_warning:
            logger.warning("batch %d is read", number)  # in another thread than the training
        return Numbered(number, [f"utt-{number}"])


@dataclass(frozen=True)
class Task:
    """What to count, and what befalls the workers.

    Each life of a worker begins with a number from `folder`, which `fate` may look at.
    """

    size: int = 40
    folder: Path | None = None
    fate: str = ""
    deaths: int = 0
    pause_s: float = 0.0
    group: int = 1
    rate: float = 1.0
    optimizer: str = "sgd"

    def make_optimizer(self, params: Any) -> torch.optim.Optimizer:
        # The gradients are all 1, so that an unbiased step of Adam is the rate too.
        kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[self.optimizer]
        return kind(params, lr=self.rate * self.group)


class CountingBrain(StampedeBrain):
    """Loss: the parameter of the batch."""

    task: Task = Task()
    before_forward: Any = None

    def compute_forward(self, batch: Numbered, stage: Stage) -> Tensor:
        if self.before_forward is not None:
            self.before_forward()
        return self.modules.counts[batch.number].sum()

    def compute_objectives(self, predictions: Tensor, batch: Numbered, stage: Stage) -> LossSum:
        return LossSum(predictions * 1.0, 1)

    def on_stage_end(self, stage: Stage, stage_loss: float, epoch: int | None = None) -> None:
        if stage == Stage.VALID and epoch is not None:
            self.finish_validation({"loss": stage_loss}, epoch=epoch)


def make_counter(
    task: Task,
    *,
    folder: Path | None = None,
    epochs: int = 2,
    run_opts: dict[str, Any] | None = None,
    **hparams: Any,
) -> Any:
    """Return a Brain whose parameters are all 0, and its epoch counter."""
    counts = nn.ParameterList(nn.Parameter(torch.zeros(1)) for _ in range(task.size))
    epoch_counter = EpochCounter(epochs)
    checkpointer = None
    if folder is not None:
        checkpointer = StampedeCheckpointer(folder, {"counts": counts, "epochs": epoch_counter})
    options = {"device": "cpu", "noprogressbar": True, "grad_accumulation_factor": task.group}
    options |= run_opts or {}
    brain = CountingBrain(
        {"counts": counts},
        task.make_optimizer,
        {"seed": 1, **hparams},
        options,
        checkpointer,
    )
    return brain, epoch_counter


def make_trainee(worker: int, task: Task) -> Trainee:
    """Make what a worker counts with."""
    if task.fate == "dies_before_it_is_ready":
        die_once(task.folder)
    brain, _ = make_counter(task)
    brain.before_forward = Fate(task, worker)
    plan, seed = Plan(task.size, is_warning=task.fate == "warns"), partial(seed_streams, 1)
    return Trainee(brain, plan, seed, rng_state, set_rng_state, note=note_of_odd)


def note_of_odd(batch: Numbered) -> str | None:
    """Tell the names of batches of odd numbers."""
    return batch.id[0] if batch.number % 2 else None


def die_once(folder: Path | None) -> None:
    """Kill this process, unless one was killed before."""
    assert folder is not None
    mark = folder / "dead"
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)


class Fate:
    """Called before each forward pass of a worker; the first time it decides its end."""

    def __init__(self, task: Task, worker: int) -> None:
        self.task, self.worker, self.num_batches = task, worker, 0

    def __call__(self) -> None:
        self.num_batches += 1
        if self.task.pause_s:
            time.sleep(self.task.pause_s)
        if hasattr(self, self.task.fate or "-"):
            getattr(self, self.task.fate)()

    def dies_at_random(self) -> None:
        """Die within 30 ms, wherever the process is then, so often as there are lives to lose."""
        if self.num_batches > 1:
            return
        assert self.task.folder is not None
        for life in range(self.task.deaths):
            try:
                (self.task.folder / f"death-{life}").touch(exist_ok=False)
            except FileExistsError:
                continue
            random.seed(life)
            # The kernel ends the process, in the midst of anything: nobody handles this signal.
            signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-4, 0.03))
            return

    def is_slow(self) -> None:
        """Worker 1 sleeps before each batch."""
        if self.worker == 1:
            time.sleep(0.05)

    def lags(self) -> None:
        """Sleep before the third batch, longer than an exchange between nodes may take."""
        if self.num_batches == 3:
            time.sleep(2 * LIMIT_S)

    def raises(self) -> None:
        """Raise at the third batch of worker 1."""
        if self.worker == 1 and self.num_batches == 3:
            logger.warning("the last words")
            raise ZeroDivisionError("the third batch of worker 1")

    def dies_once(self) -> None:
        """Worker 0 kills itself, once, in its second batch."""
        if self.worker == 0 and self.num_batches == 2:
            die_once(self.task.folder)

    def hangs(self) -> None:
        """Worker 1 stops for ever in its second batch, once."""
        assert self.task.folder is not None
        mark = self.task.folder / "hung"
        if self.worker == 1 and self.num_batches == 2 and not mark.exists():
            mark.touch()
            signal.pause()


def count(
    task: Task,
    *,
    folder: Path | None = None,
    epochs: int = 2,
    valid: Any = None,
    interrupt_after: str | None = None,
    on_note: Any = None,
    **options: Any,
) -> tuple[CountingBrain, list[dict[str, Any]]]:
    """Let workers count; return the parent's Brain and the figures of each epoch.

    It is interrupted, as by Ctrl-C, after the first call of the Brain's method of that name.
    """
    hparams, plan_id = options.pop("hparams", {}), options.pop("plan_id", "")
    batches_per_epoch = options.pop("batches_per_epoch", None)
    hparams = {**hparams, "run_opts": options.pop("run_opts", None)}
    brain, epoch_counter = make_counter(task, folder=folder, epochs=epochs, **hparams)
    if interrupt_after is not None:
        interrupt(brain, interrupt_after)
    figures: list[dict[str, Any]] = []
    fit(
        brain,
        # Every update must count as 1, however stale it is.
        HogwildOptions(**{"num_workers": 2, "staleness_power": 0.0, **options}),
        factory=make_trainee,
        arguments=lambda: (task,),
        batches=Plan(task.size),
        epochs=epoch_counter,
        valid_set=valid,
        plan_id=plan_id,
        batches_per_epoch=batches_per_epoch,
        on_epoch=figures.append,
        on_note=on_note,
    )
    return brain, figures


def interrupt(brain: CountingBrain, name: str) -> None:
    """Let a method of the Brain end as if Ctrl-C had been pressed."""
    method = getattr(brain, name)

    def call(*arguments: Any, **options: Any) -> None:
        method(*arguments, **options)
        raise KeyboardInterrupt

    setattr(brain, name, call)


def times_applied(brain: CountingBrain) -> list[int]:
    """Return how often each batch was applied."""
    return [round(-param.item()) for param in brain.modules.parameters()]
