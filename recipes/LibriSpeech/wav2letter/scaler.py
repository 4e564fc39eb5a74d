"""The loss scale of wav2letter's mixed-precision recipes: an update that overflows is tried again.

The scale starts at 4096. Each update that succeeds adds 2, each 2000th since the last failure
doubles it, until it is 32000 or more. An overflow halves it, and the same batch is computed again.
(Rule of wav2letter's Train.cpp, commit cfa7c40.) Unlike there: the gradients of the criterion are
checked too; ranks decide together, after gradients and losses have been exchanged; a scale that
cannot be halved ends the run instead of letting the bad gradient through.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from recipes.common.recoverable import loader, recoverable, saver
from recipes.common.update import LOSS_UNIT, gradients


class ScaleError(RuntimeError):
    """The loss scale is at its floor and gradients still overflow."""


@recoverable
class RetryScaler:
    """Stands where torch.GradScaler stands; `update` must follow each attempt.

    Arguments
    ---------
    initial : int
        Scale of the first update; the gradient of the loss summed over utterances is scaled.
    interval : int
        Updates between two doublings.
    limit : int
        From here on the scale grows no more.

    Raises
    ------
    ValueError
        If a value is out of range.
    """

    def __init__(self, *, initial: int = 4096, interval: int = 2000, limit: int = 32000) -> None:
        if initial < 1 or interval < 1 or limit < 1:
            raise ValueError(
                f"scaler: initial {initial}, interval {interval}, limit {limit}; expected >= 1."
            )
        self.value, self.interval, self.limit = initial, interval, limit
        self.count = 1
        self.num_retries = 0
        self._has_stepped = False

    def is_enabled(self) -> bool:
        """Say yes: where losses are not scaled this class is not used."""
        return True

    def get_scale(self) -> float:
        """Return the scale."""
        return float(self.value)

    def scale(self, loss: Tensor) -> Tensor:
        """Return the scaled loss; the common Brain has divided it by LOSS_UNIT."""
        return loss * (self.value * LOSS_UNIT)

    def unscale_(self, optimizer: Optimizer) -> None:
        """Undo the scaling of an optimizer's gradients, in place."""
        grads = gradients([optimizer])
        if grads:
            torch._foreach_mul_(grads, 1.0 / (self.value * LOSS_UNIT))

    def step(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
        """Step an optimizer: the attempt was good."""
        self._has_stepped = True
        return optimizer.step(*args, **kwargs)

    def update(self) -> None:
        """Change the scale after an attempt, good or bad; the same on every rank.

        Raises
        ------
        ScaleError
            If it was bad and the scale is 1.
        """
        self.count += 1
        if self._has_stepped:
            self._has_stepped = False
            if self.value < self.limit:
                self.value += self.value if self.count % self.interval == 0 else 2
            return
        if self.value < 2:
            raise ScaleError(
                "scaler: losses or gradients are not finite at a loss scale of 1; expected finite "
                "ones; train in bf16 or fp32, or lower the learning rate."
            )
        self.value //= 2
        self.count = 1
        self.num_retries += 1

    @saver
    def _save(self, path: Path) -> None:
        state = {"value": self.value, "count": self.count, "num_retries": self.num_retries}
        Path(path).write_text(json.dumps(state), encoding="utf-8")

    @loader
    def _recover(self, path: Path, end_of_epoch: bool) -> None:
        del end_of_epoch
        state = json.loads(Path(path).read_text(encoding="utf-8"))
        self.value, self.count = state["value"], state["count"]
        self.num_retries = state["num_retries"]
