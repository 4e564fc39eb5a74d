"""Micro-batches to updates: the part of the common Brain that computes and applies gradients."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import speechbrain as sb
import torch
from speechbrain import Stage
from torch import Tensor
from torch.optim import Optimizer

from recipes.common.distributed import rank
from recipes.common.loss import LossSum, check_loss
from recipes.common.options import BrainOptions, norm_limit, update_limit
from recipes.common.schedule import UpdateSchedule
from recipes.common.stop_file import StopFile
from recipes.common.straggler import Straggler
from recipes.common.update import (
    LOSS_UNIT,
    GradGroup,
    GroupSums,
    NonFiniteCounter,
    UpdateReport,
    gradients,
    scale_gradients,
    sum_group,
)


def set_tf32(is_allowed: bool) -> None:
    """Allow or forbid TF32 in products and convolutions of float32; CPUs have none.

    Arguments
    ---------
    is_allowed : bool
        For the whole process.
    """
    torch.backends.cuda.matmul.allow_tf32 = is_allowed
    torch.backends.cudnn.allow_tf32 = is_allowed


class SteppingBrain(sb.Brain):
    """Brain with exact updates; :class:`recipes.common.brain.StampedeBrain` adds the loops.

    The gradient of a loss total is divided by a constant power of two at each micro-batch, and
    multiplied by it times ``world_size / units`` at the update, where ``units`` is the sum over
    all micro-batches of all ranks (DDP has divided the sum of gradients by ``world_size``).

    Arguments
    ---------
    *arguments : Any
        Those of ``speechbrain.Brain``.
    options : BrainOptions
        Limit in updates, schedule, TF32.
    """

    run_log: Any = None  # a recipes.common.run_log.RunLog, where there is one
    last_update: UpdateReport | None = None

    def __init__(self, *arguments: Any, options: BrainOptions) -> None:
        super().__init__(*arguments)
        self.options = options
        if options.allow_tf32 is not None:
            set_tf32(options.allow_tf32)
        self.norm_limit = norm_limit(self.max_grad_norm)
        limit = vars(self)["optimizer_step_limit"]
        self.optimizer_step_limit: int | None = update_limit(options.max_updates, limit)
        schedule = options.update_schedule
        self.update_schedule = None if schedule is None else UpdateSchedule(schedule)
        self.nonfinite = NonFiniteCounter(int(self.nonfinite_patience))
        self.num_nonfinite_batches = 0  # of the last validation or test, over all ranks
        self.train_sums: list[float] = [0.0, 0]  # loss and units of the epoch, over all ranks
        self.num_batches: int | None = None
        self.first_update = 0  # updates that a checkpoint brought
        self.num_utterances = 0  # trained on so far, by all ranks, repetitions counted
        self.is_out_of_time = False
        self.stop_file = StopFile.from_environment()
        self.must_stop = False  # the run was asked to, on any rank
        self.process = rank()  # which of those that train together; a straggler is chosen by it
        self._straggler = Straggler(options.straggler_share)
        self._group = GradGroup()

    @property
    def seconds_left(self) -> float:
        """Seconds of training and validation until the limit; infinity without one."""
        return math.inf

    @property
    def has_open_group(self) -> bool:
        """Whether gradients wait for an update."""
        return len(self._group) > 0

    def take_loader(self, train_set: Any) -> None:
        """Take from the training data what decides an update or a rate; call it before training."""

    def on_update_end(self, report: UpdateReport) -> None:
        """Run after every attempted update, on every rank: log it."""
        self.last_update = report
        if self.run_log is not None:
            self.run_log.update(report)

    def on_progress(self, figures: dict[str, float]) -> None:
        """Run every ``log_every`` updates with figures of the speed: log them."""
        if self.run_log is not None:
            self.run_log.progress(figures, number=self.optimizer_step)

    def scale_gradients(
        self, optimizers: Sequence[Optimizer], grads: Sequence[Tensor], sums: GroupSums
    ) -> None:
        """Turn the gradients into those of the mean loss, clipped; override to clip otherwise."""
        scale_gradients(grads, sums, max_norm=self.norm_limit)

    def apply_update(self, optimizers: list[Optimizer]) -> None:
        """Step the optimizers; their gradients are those of the mean loss, clipped."""
        for optimizer in optimizers:
            self.scaler.step(optimizer)

    # --- one update --------------------------------------------------------------------------

    def fit_batch(self, batch: Any) -> LossSum:
        """Add one micro-batch to the group, and update if the group or the epoch ends with it."""
        if self.options.straggler is not None and self.options.straggler == self.process:
            self._straggler.rest()
        ends_epoch = self.ends_epoch(batch)
        should_step = ends_epoch or len(self._group) + 1 >= self.grad_accumulation_factor
        self.on_fit_batch_start(batch, should_step)
        with self.no_sync(not should_step):
            with self.training_ctx:
                outputs = self.compute_forward(batch, Stage.TRAIN)
                loss = self.compute_objectives(outputs, batch, Stage.TRAIN)
            loss = check_loss(loss, is_training=True)
            self.scaler.scale(loss.total / LOSS_UNIT).backward()
        self._group.add(loss, batch, ends_epoch=ends_epoch)
        if should_step:
            self.optimizers_step()
        self.on_fit_batch_end(batch, outputs, loss, should_step)
        return loss.detach()

    def ends_epoch(self, batch: Any) -> bool:
        """Whether ``batch`` is the last of its (nominal) epoch."""
        if self.debug and self.step >= self.debug_batches:
            return True
        ends = getattr(batch, "ends_epoch", None)
        return self.step == self.num_batches if ends is None else bool(ends)

    def optimizers_step(self) -> None:
        """Turn the group's gradients into those of its mean loss, and apply them if finite."""
        group, self._group = self._group, GradGroup()
        optimizers = [o for o in self._active_optimizers() if gradients([o])]
        for optimizer in optimizers:
            self.scaler.unscale_(optimizer)
        grads = gradients(optimizers)
        sums = sum_group(
            group,
            grads,
            wants_end=self.seconds_left <= 0,
            is_asked_to_stop=self.stop_file.is_there,
        )
        self.is_out_of_time, self.must_stop = sums.num_ending > 0, sums.num_stopping > 0
        is_applied = sums.is_finite and sums.count > 0
        if is_applied:
            self.scale_gradients(optimizers, grads, sums)
            if self.update_schedule is not None:
                self.update_schedule.set_rates(optimizers, update=self.optimizer_step)
            self.apply_update(optimizers)
            self.optimizer_step += 1
            self.num_utterances += sums.num_utterances
            self.train_sums = [self.train_sums[0] + sums.total, self.train_sums[1] + sums.count]
        if optimizers:
            self.scaler.update()
        self.modules.zero_grad(set_to_none=True)
        self._note_finiteness(group, sums)
        rate = optimizers[0].param_groups[0]["lr"] if optimizers else math.nan
        number, norm = self.optimizer_step, sums.grad_norm
        self.on_update_end(UpdateReport(number, is_applied, sums.loss, sums.count, norm, rate))

    def _note_finiteness(self, group: GradGroup, sums: GroupSums) -> None:
        if sums.is_finite:
            self.nonfinite.note_good()
        elif sums.num_bad == 0 and self.scaler.is_enabled() and self.scaler.get_scale() >= 1.0:
            self.nonfinite.num_skipped += 1  # fp16 overflow: the scaler tries a lower scale
        else:
            self.nonfinite.note_bad(group, update=self.optimizer_step)

    def _active_optimizers(self) -> list[Optimizer]:
        if self.optimizers_dict is None:
            return []
        return list(self.freeze_optimizers(self.optimizers_dict).values())

    @contextmanager
    def no_sync(self, use: bool = True) -> Iterator[None]:
        """Leave gradients unreduced inside the block; also put back after an exception."""
        wrapped = [m for m in self.modules.values() if hasattr(m, "require_backward_grad_sync")]
        before = [module.require_backward_grad_sync for module in wrapped]
        try:
            for module in wrapped if use else ():
                module.require_backward_grad_sync = False
            yield
        finally:
            for module, value in zip(wrapped, before, strict=True):
                module.require_backward_grad_sync = value
