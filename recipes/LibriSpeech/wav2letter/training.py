"""How the three recipes train: two groups of parameters, phases, and overflows tried again.

Network and criterion (ASG's transitions, or the attention decoder) have rates of their own; the
criterion has no momentum. The loss is a sum over utterances with their number, so that an update
uses its mean over the global batch. Gradients are clipped jointly, except in epochs of linear
segmentation, where only the network's are, by their own norm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from speechbrain import Stage
from speechbrain.utils.logger import get_logger
from torch import Tensor
from torch.optim import Optimizer

from recipes.common.brain import StampedeBrain
from recipes.common.distributed import all_reduce_sum
from recipes.common.loss import LossSum
from recipes.common.reporting import merge_scores, report_recognition
from recipes.common.scoring import METRICS, TextScores
from recipes.common.update import GroupSums, UpdateReport
from recipes.LibriSpeech.wav2letter.phases import EpochPlan
from recipes.LibriSpeech.wav2letter.scaler import RetryScaler

POLICIES = ("torch", "w2l")

logger = get_logger(__name__)


class Wav2letterBrain(StampedeBrain):
    """What the Brains of the recipes share: all but the model and its loss.

    Keys of the YAML that are read here: ``phases``, ``amp_policy``, ``nominal_batch``.

    Arguments
    ---------
    *arguments : Any
        Those of StampedeBrain.
    **options : Any
        The same.

    Raises
    ------
    ValueError
        If ``amp_policy`` is unknown.
    """

    criterion_names: tuple[str, ...] = ()
    """Modules that are trained at the criterion's rate."""

    valid_figures = ("loss", *METRICS)
    epoch = 0
    test_set = "test"
    plan: EpochPlan

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        policy = self.hparams.amp_policy
        if policy not in POLICIES:
            raise ValueError(f"amp_policy: is {policy!r}; expected one of {list(POLICIES)}.")
        if policy == "w2l" and self.scaler.is_enabled():
            self.use_scaler(RetryScaler())
        self._held: list[tuple[Any, bool]] = []  # batches since the last update, to repeat it
        self._is_again: bool | None = None  # of a batch that is repeated: whether it ends the epoch
        self._was_skipped = False

    def use_scaler(self, scaler: RetryScaler) -> None:
        """Scale losses by another rule than torch's."""
        self.scaler = scaler
        if self.checkpointer is not None:
            self.checkpointer.add_recoverable("scaler", scaler, optional_load=True)

    # --- updates -----------------------------------------------------------------------------

    def init_optimizers(self) -> None:
        """Make one optimizer with two groups: network, and criterion without momentum."""
        is_criterion = {
            id(param) for name in self.criterion_names for param in self.modules[name].parameters()
        }
        params = list(self.modules.parameters())
        network = [param for param in params if id(param) not in is_criterion]
        criterion = [param for param in params if id(param) in is_criterion]
        groups = [{"params": network}, {"params": criterion, "momentum": 0.0}]
        self.optimizer = self.opt_class(groups)
        self.optimizers_dict = {"opt_class": self.optimizer}
        if self.checkpointer is not None:
            self.checkpointer.add_recoverable("optimizer", self.optimizer)

    def optimizers_step(self) -> None:
        """Update at the rates of the epoch."""
        network, criterion = self.optimizer.param_groups
        network["lr"], criterion["lr"] = self.plan.lr, self.plan.lr_criterion
        super().optimizers_step()

    def scale_gradients(
        self, optimizers: Sequence[Optimizer], grads: Sequence[Tensor], sums: GroupSums
    ) -> None:
        """Clip jointly; in epochs of linear segmentation the network alone."""
        if not self.plan.is_linear:
            super().scale_gradients(optimizers, grads, sums)
            return
        network, criterion = (
            [p.grad for p in group["params"] if p.grad is not None]
            for group in self.optimizer.param_groups
        )
        norm = float(torch.nn.utils.get_total_norm(network)) * sums.factor
        clip = min(1.0, self.norm_limit / (norm + 1e-6))
        torch._foreach_mul_(network, sums.factor * clip)
        if criterion:
            torch._foreach_mul_(criterion, sums.factor)

    def fit_batch(self, batch: Any) -> LossSum:
        """Train on a batch; where the scaler says so, repeat an update that has overflowed.

        All ranks decide alike, since losses and gradients were exchanged before.
        """
        if not isinstance(self.scaler, RetryScaler):
            return super().fit_batch(batch)
        self._held.append((batch, super().ends_epoch(batch)))
        loss = super().fit_batch(batch)
        while self._was_skipped:
            self._was_skipped = False
            for again, ends_epoch in self._held:
                self._is_again = ends_epoch
                loss = super().fit_batch(again)
            self._is_again = None
        if not self.has_open_group:
            self._held.clear()
        return loss

    def ends_epoch(self, batch: Any) -> bool:
        """Whether a batch is the last of its epoch, also when it is repeated."""
        return super().ends_epoch(batch) if self._is_again is None else self._is_again

    def on_update_end(self, report: UpdateReport) -> None:
        """Log the update, and note whether it was skipped."""
        self._was_skipped = not report.is_applied
        super().on_update_end(report)

    def num_units(self, batch: Any) -> int:
        """Return what the loss of a batch counts for: utterances, or the nominal batch."""
        if batch.is_padding:
            return 0
        nominal = self.hparams.nominal_batch
        return len(batch.id) if nominal is None else nominal

    # --- stages ------------------------------------------------------------------------------

    def on_stage_start(self, stage: Stage, epoch: int | None = None) -> None:
        """Set up the stage's scores; in training take the plan of the epoch."""
        self.epoch = self.epoch if epoch is None else epoch
        self.scores = TextScores()
        self.num_empty = 0
        if stage != Stage.TRAIN:
            return
        self.plan = self.hparams.phases.at(self.epoch)
        self.norm_limit = self.plan.max_grad_norm
        was_linear = self.epoch > 1 and self.hparams.phases.at(self.epoch - 1).is_linear
        if was_linear and not self.plan.is_linear and self.step == 0:
            self.forget_momentum()

    def forget_momentum(self) -> None:
        """Set all momenta to zero, in place: they may lie in shared memory."""
        for state in self.optimizer.state.values():
            if state.get("momentum_buffer") is not None:
                state["momentum_buffer"].zero_()

    def note_texts(self, batch: Any, hypotheses: Sequence[Sequence[int]]) -> None:
        """Keep what was recognised in a batch of validation or test; count what was not."""
        self.num_empty += sum(not row for row in hypotheses)
        self.scores.append(
            batch.id,
            references=batch.text,
            hypotheses=self.tokenizer.decode(hypotheses),
            categories=batch.category,
        )

    def on_stage_end(self, stage: Stage, stage_loss: float, epoch: int | None = None) -> None:
        """Merge the ranks' scores and log them; after validation choose the checkpoint."""
        if stage == Stage.TRAIN:
            return
        num_empty = int(all_reduce_sum(torch.tensor(self.num_empty)))
        figures = merge_scores(self, stage_loss, num_empty=num_empty)
        if stage == Stage.TEST and num_empty:
            logger.warning(
                "%s: %d of %d utterances have no hypothesis; widen the beam, raise its threshold "
                "or max_attention_shift, or train longer.",
                self.test_set,
                num_empty,
                self.results["utterances"],
            )
        report_recognition(self, stage, figures)
