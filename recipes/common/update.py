"""One optimizer update: the micro-batches behind it, its sums over ranks, scaling and clipping."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from speechbrain.utils.logger import get_logger
from torch import Tensor
from torch.optim import Optimizer

from recipes.common.distributed import all_reduce_sum, gather_list, world_size
from recipes.common.loss import LossSum

logger = get_logger(__name__)

LOSS_UNIT = 1024.0
"""Every total is divided by this power of two before the backward pass, and the gradient
multiplied by it at the update: exact, and it keeps fp16 gradients near the size of a mean's."""


class NonFiniteError(FloatingPointError):
    """Too many updates in a row had a non-finite loss or gradient."""


@dataclass(slots=True)
class GradGroup:
    """Micro-batches of this rank whose gradients wait for one update."""

    count: int = 0
    num_utterances: int = 0
    ends_epoch: bool = False
    totals: list[Tensor] = field(default_factory=list)
    ids: list[list[str]] = field(default_factory=list)

    def add(self, loss: LossSum, batch: Any, *, ends_epoch: bool) -> None:
        """Note one micro-batch after its backward pass."""
        ids = batch_ids(batch)
        self.count += loss.count
        self.num_utterances += 0 if getattr(batch, "is_padding", False) else len(ids)
        self.ends_epoch = ends_epoch
        self.totals.append(loss.total.detach())
        self.ids.append(ids)

    def __len__(self) -> int:
        return len(self.totals)

    def bad_ids(self) -> list[str]:
        """Return the ids of micro-batches with a non-finite loss; all ids if none has one."""
        is_bad = [not bool(total.isfinite()) for total in self.totals]
        chosen = is_bad if any(is_bad) else [True] * len(self)
        return [id_ for ids, bad in zip(self.ids, chosen, strict=True) if bad for id_ in ids]


@dataclass(frozen=True, slots=True)
class UpdateReport:
    """What one attempted update did; the same on every rank.

    Arguments
    ---------
    number : int
        Updates applied so far, this one included if it was.
    is_applied : bool
        False if it was skipped (non-finite, or no unit in the group).
    loss : float
        Mean loss per unit over the group and all ranks.
    count : int
        Units in the group over all ranks.
    grad_norm : float
        Norm of the gradient of the mean loss, before clipping.
    rate : float
        Learning rate of the first group of the first optimizer.
    """

    number: int
    is_applied: bool
    loss: float
    count: int
    grad_norm: float
    rate: float


@dataclass(frozen=True, slots=True)
class GroupSums:
    """Sums of a group over ranks.

    Arguments
    ---------
    count : int
        Units of the loss.
    num_utterances : int
        Utterances, padding batches not counted.
    num_ending : int
        Ranks that want training to end after this update.
    num_stopping : int
        Ranks that were asked to stop the run after this update.
    num_bad : int
        Micro-batches with a non-finite loss.
    total : float
        Loss.
    raw_norm : float
        Norm of the gradient as DDP gives it.
    """

    count: int
    num_utterances: int
    num_ending: int
    num_stopping: int
    num_bad: int
    total: float
    raw_norm: float

    @property
    def factor(self) -> float:
        """From the gradient that DDP gives to that of the mean loss per unit; 0 without units."""
        return LOSS_UNIT * world_size() / self.count if self.count else 0.0

    @property
    def grad_norm(self) -> float:
        """Norm of the gradient of the mean loss."""
        return self.raw_norm * self.factor

    @property
    def loss(self) -> float:
        """Mean loss per unit; NaN without units."""
        return self.total / self.count if self.count else math.nan

    @property
    def is_finite(self) -> bool:
        """Whether all losses and the gradient are finite."""
        return self.num_bad == 0 and math.isfinite(self.raw_norm)


def batch_ids(batch: Any) -> list[str]:
    """Return the ids of a batch's examples, or an empty list if it has none."""
    ids = getattr(batch, "id", None)
    return [str(id_) for id_ in ids] if ids is not None else []


def gradients(optimizers: Iterable[Optimizer]) -> list[Tensor]:
    """Return the gradients of all groups of all optimizers, each parameter once."""
    params = {
        id(param): param
        for optimizer in optimizers
        for group in optimizer.param_groups
        for param in group["params"]
        if param.grad is not None
    }
    return [param.grad for param in params.values()]


def sum_group(
    group: GradGroup,
    grads: Sequence[Tensor],
    *,
    wants_end: bool = False,
    is_asked_to_stop: bool = False,
) -> GroupSums:
    """Sum a group over ranks: one small all_reduce, then one device synchronisation.

    The gradient norm is not exchanged: gradients are the same on every rank after DDP's own
    reduction, and a non-finite one on any rank is non-finite on all.

    Arguments
    ---------
    group : GradGroup
        This rank's micro-batches; at least one.
    grads : Sequence[Tensor]
        Gradients after their last backward pass.
    wants_end : bool
        Whether this rank wants training to end: clocks differ, so all must agree.
    is_asked_to_stop : bool
        Whether this rank was asked to stop the run.

    Returns
    -------
    GroupSums
        The same on every rank.

    Raises
    ------
    RuntimeError
        If the epoch ends on some ranks only. Without this check they would go on, one epoch
        apart, until the run's end.
    """
    totals = torch.stack(group.totals).double()
    is_good = totals.isfinite()
    zero = torch.zeros_like(totals)
    flags = [group.count, group.ends_epoch, group.num_utterances, wants_end, is_asked_to_stop]
    known = torch.tensor(flags, dtype=torch.float64).to(totals.device)
    losses = torch.stack([(~is_good).sum().double(), torch.where(is_good, totals, zero).sum()])
    sums = torch.cat([known, losses])
    norm = torch.nn.utils.get_total_norm(grads) if grads else torch.zeros(())
    norm = norm.to(device=sums.device, dtype=torch.float64).reshape(1)
    found = torch.cat([all_reduce_sum(sums), norm]).tolist()
    *counts, total, raw_norm = found
    count, num_last, num_utterances, num_ending, num_stopping, num_bad = map(round, counts)
    if num_last not in (0, world_size()):
        raise RuntimeError(
            f"update: the epoch ends here on {num_last} of {world_size()} ranks; expected as "
            "many batches on each rank; use data_prepare.stream.ShardLoader."
        )
    return GroupSums(count, num_utterances, num_ending, num_stopping, num_bad, total, raw_norm)


def scale_gradients(grads: Sequence[Tensor], sums: GroupSums, *, max_norm: float) -> None:
    """Turn gradients into those of the mean loss and clip them jointly, in one pass.

    Arguments
    ---------
    grads : Sequence[Tensor]
        All gradients of the update.
    sums : GroupSums
        Their sums over ranks.
    max_norm : float
        > 0; infinity does not clip. The rule is torch's: min(1, max_norm / (norm + 1e-6)).
    """
    clip = min(1.0, max_norm / (sums.grad_norm + 1e-6))
    if grads:
        torch._foreach_mul_(list(grads), sums.factor * clip)


class NonFiniteCounter:
    """Counts skipped updates, and raises on all ranks after too many in a row.

    Unlike SpeechBrain's, the count does not start anew each epoch.

    Arguments
    ---------
    patience : int
        Non-finite updates in a row that are borne; the next one raises; >= 0.
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.in_a_row = 0
        self.num_skipped = 0
        self._ids: deque[str] = deque(maxlen=100)

    def note_good(self) -> None:
        """Note a finite update."""
        self.in_a_row = 0
        self._ids.clear()

    def note_bad(self, group: GradGroup, *, update: int) -> None:
        """Note a skipped update; every rank must call it.

        Arguments
        ---------
        group : GradGroup
            This rank's micro-batches.
        update : int
            Updates applied so far.

        Raises
        ------
        NonFiniteError
            If the patience is used up; names the batches of all ranks.
        """
        ids = group.bad_ids()
        self.num_skipped += 1
        self.in_a_row += 1
        self._ids.extend(ids)
        where = f"update {update + 1}"
        logger.warning("%s: skipped, loss or gradient is not finite; batches %s", where, ids[:20])
        if self.in_a_row <= self.patience:
            return
        named = gather_list(self._ids)
        shown = ", ".join(named[:20]) + (", ..." if len(named) > 20 else "")
        raise NonFiniteError(
            f"{where}: {self.in_a_row} attempts in a row had a non-finite loss or gradient, in "
            f"batches [{shown}]; expected at most nonfinite_patience = {self.patience}; look at "
            "these utterances, lower the learning rate or max_grad_norm, or train in fp32."
        )
