"""Losses as sums over units: what every recipe's ``compute_objectives`` returns.

A mean over a batch forgets how large the batch was, so means of unequal batches cannot be added.
A sum and its number of units can: over micro-batches, over ranks, over an epoch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recipes.common.distributed import all_reduce_sum

MAX_NONFINITE_SHARE = 0.05
"""Of a stage's batches, which may be left out of its mean loss."""


@dataclass(frozen=True, slots=True)
class LossSum:
    """Loss summed over its units (target tokens, frames, examples) and the number of units.

    Arguments
    ---------
    total : Tensor
        [] float32 (or float64), on the device of the model. In training it hangs on the graph;
        a padding batch gives ``total * 0``, so that every rank still has a backward pass.
    count : int
        Number of units in ``total``; 0 for a padding batch.
    """

    total: Tensor
    count: int

    def detach(self) -> LossSum:
        """Return the same loss without its graph."""
        return LossSum(self.total.detach(), self.count)


def check_loss(loss: Any, *, is_training: bool) -> LossSum:
    """Return ``loss`` if it keeps the contract of :class:`LossSum`.

    Arguments
    ---------
    loss : Any
        What ``compute_objectives`` returned.
    is_training : bool
        Whether a backward pass follows.

    Returns
    -------
    LossSum
        The argument itself.

    Raises
    ------
    TypeError
        If it is not a LossSum, its total is no float32 scalar, or its count no int.
    ValueError
        If the count is negative, or the total has no graph in training.
    """
    where = "compute_objectives"
    if not isinstance(loss, LossSum):
        raise TypeError(f"{where}: returned {type(loss).__name__}; expected LossSum(total, count).")
    if not isinstance(loss.total, Tensor) or loss.total.dim() != 0:
        raise TypeError(f"{where}: total is {_describe(loss.total)}; expected a scalar tensor.")
    if loss.total.dtype not in (torch.float32, torch.float64):
        raise TypeError(
            f"{where}: total is {loss.total.dtype}; expected torch.float32; call .float() on the "
            "log-probabilities before the loss, autocast keeps them in half precision."
        )
    if not isinstance(loss.count, int) or isinstance(loss.count, bool):
        raise TypeError(f"{where}: count is {type(loss.count).__name__}; expected int.")
    if loss.count < 0:
        raise ValueError(f"{where}: count is {loss.count}; expected 0 or more units.")
    if is_training and not loss.total.requires_grad:
        raise ValueError(
            f"{where}: total has no gradient; expected a graph, also for padding batches; "
            "return total * 0 for them, not a constant."
        )
    return loss


def _describe(value: Any) -> str:
    return f"of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


class LossMeter:
    """Mean loss per unit over a stage, merged over ranks; no device synchronisation per batch.

    Arguments
    ---------
    device : str
        Device of the losses.
    """

    def __init__(self, device: str) -> None:
        # Loss, units, batches left out, batches.
        self._sums = torch.zeros(4, dtype=torch.float64, device=device)

    def add(self, loss: LossSum) -> None:
        """Add one batch; a batch with a non-finite loss is left out with its units, and counted."""
        total = loss.total.detach().double()
        is_good, one = total.isfinite().double(), torch.ones_like(total)
        total = total.nan_to_num(0.0, 0.0, 0.0)  # zero also where it is infinite
        self._sums += torch.stack([total, is_good * loss.count, one - is_good, one])

    def merge(self) -> tuple[float, int]:
        """Return mean loss and number of batches left out, over all ranks; each must call it.

        Returns
        -------
        tuple of float and int
            The mean is NaN if there was no unit, or if more than ``MAX_NONFINITE_SHARE`` of the
            batches were left out: the mean of the others would flatter the model.
        """
        total, count, num_bad, num_batches = all_reduce_sum(self._sums).tolist()
        is_told = count and num_bad <= MAX_NONFINITE_SHARE * num_batches
        return total / count if is_told else math.nan, round(num_bad)
