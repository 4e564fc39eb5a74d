"""The Brain under all recipes: SpeechBrain's, with updates that are exact and runs that resume.

A recipe derives from :class:`StampedeBrain` and defines ``compute_forward(batch, stage) -> dict``,
``compute_objectives(predictions, batch, stage) -> LossSum``, and the stage hooks. What differs
from ``speechbrain.Brain`` 1.1.2, and why:

- losses are sums with counts; the gradient is divided once per update by the units of all ranks'
  micro-batches: accumulation and DDP equal one large batch, the last group of an epoch is applied
  too, padding batches change nothing, reported losses are means per unit;
- clipping is joint over all parameter groups, its bound is checked;
- an update with a non-finite loss or gradient is skipped on all ranks alike;
- validation and test data may be shared among ranks, in unequal parts;
- runs may be limited in updates or seconds, stopped early, and resumed bit for bit.

One synchronisation per update remains (is it applied?), and one of ranks in ten (is a save due?).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from speechbrain import Stage
from speechbrain.dataio.dataloader import LoopedLoader

from recipes.common import loops
from recipes.common.clock import TrainClock
from recipes.common.distributed import set_timeout
from recipes.common.loss import LossSum, check_loss
from recipes.common.options import BrainOptions, check_figures
from recipes.common.recoverable import loader, recoverable, saver
from recipes.common.rng import RngStates, seed_by_rank
from recipes.common.stepping import SteppingBrain
from recipes.common.update import GradGroup
from recipes.common.validation import finish_validation, load_best
from recipes.common.wrapping import wrap_distributed


@recoverable
class StampedeBrain(SteppingBrain):
    """Brain whose losses are sums; see the module for what else it changes.

    Arguments
    ---------
    modules : Mapping[str, torch.nn.Module] | None
        Reached as ``self.modules.x`` only: under DDP the wrappers live there. The unwrapped ones
        are in ``self.raw_modules`` (for custom methods in evaluation).
    opt_class : Any
        Callable from parameters to optimizer, or None.
    hparams : dict[str, Any] | None
        YAML keys; those of :class:`recipes.common.options.BrainOptions` are read here.
    run_opts : Any
        SpeechBrain's RunOptions or a dict, as ``distributed_session`` yields them, or None.
    checkpointer : Any
        StampedeCheckpointer or None. Also given the Brain, random states, clock, schedules, early
        stopping and train loader.

    Raises
    ------
    ValueError
        If options are wrong; all faults at once.
    """

    # What the recipe's validation gives to `finish_validation`; checked against `valid_metric`.
    valid_figures: tuple[str, ...] = ()

    def __init__(
        self,
        modules: Mapping[str, torch.nn.Module] | None = None,
        opt_class: Any = None,
        hparams: dict[str, Any] | None = None,
        run_opts: Any = None,
        checkpointer: Any = None,
    ) -> None:
        super().__init__(
            modules,
            opt_class,
            hparams,
            run_opts,
            checkpointer,
            options=BrainOptions.from_hparams(hparams),
        )
        check_figures(self.options, self.valid_figures)
        self.raw_modules = torch.nn.ModuleDict(dict(self.modules.items()))
        self.clock = TrainClock()
        self.rng_states = RngStates()
        self.epoch_is_open = False
        self.train_loss = float("nan")
        loops.add_recoverables(self)

    # --- what recipes may call or override ---------------------------------------------------

    def finish_validation(
        self, stats: Mapping[str, float], *, epoch: int, meta: Mapping[str, Any] | None = None
    ) -> None:
        """Do what follows every validation: rate, early stopping, target, checkpoint.

        Call it at the end of ``on_stage_end(Stage.VALID, ...)``, with statistics merged over ranks.

        Arguments
        ---------
        stats : Mapping[str, float]
            "loss" and the recipe's figures; ``valid_metric`` must be among them.
        epoch : int
            Epoch of the validation.
        meta : Mapping[str, Any] | None
            More plain values for the checkpoint.
        """
        finish_validation(self, stats, epoch=epoch, meta=meta or {})

    @property
    def is_finished(self) -> bool:
        """Whether a limit in updates or seconds is reached, or early stopping has decided."""
        stopping = self.options.early_stopping
        is_stopped = stopping is not None and stopping.should_stop
        return is_stopped or self.is_out_of_time or self._optimizer_step_limit_exceeded

    @property
    def seconds_left(self) -> float:
        """Seconds of training and validation until ``max_seconds``; infinity without it."""
        limit_s = self.options.max_seconds
        return math.inf if limit_s is None else limit_s - self.clock.total_s

    # --- the loops ---------------------------------------------------------------------------

    def fit(
        self,
        epoch_counter: Iterable[int],
        train_set: Any,
        valid_set: Any = None,
        progressbar: bool | None = None,
        train_loader_kwargs: Mapping[str, Any] | None = None,
        valid_loader_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        """Train until the epochs, the limit in updates or the patience end; resume if possible.

        Arguments
        ---------
        epoch_counter : Iterable[int]
            Epochs; SpeechBrain's EpochCounter, registered with the checkpointer, to resume.
        train_set : Any
            DataLoader or Dataset: this rank's share. A loader that can be saved is.
        valid_set : Any
            DataLoader or Dataset: this rank's share; None: no validation.
        progressbar : bool | None
            None: unless SpeechBrain's option ``noprogressbar`` is set; on the main process only.
        train_loader_kwargs : Mapping[str, Any] | None
            For ``make_dataloader``, if a Dataset is given.
        valid_loader_kwargs : Mapping[str, Any] | None
            The same for validation.
        """
        loops.add_loader(self, train_set)
        super().fit(
            loops.open_epochs(self, epoch_counter),
            train_set,
            valid_set,
            progressbar,
            dict(train_loader_kwargs or {}),
            dict(valid_loader_kwargs or {}),
        )

    def on_fit_start(self) -> None:
        """Seed this rank's streams, wrap, make optimizers, recover the newest good checkpoint."""
        if self.options.seed is not None:
            seed_by_rank(self.options.seed)
        set_timeout(self.options.distributed_timeout_s)
        super().on_fit_start()
        self.is_out_of_time = self.seconds_left <= 0  # the clock has come back with the checkpoint

    def start_epoch(self, *, num_batches: int | None) -> None:
        """Begin an epoch with an empty group; ``step`` and sums stay, for an epoch resumed."""
        self._group = GradGroup()
        self.num_batches = num_batches

    def end_epoch(self, epoch: int) -> None:
        """Report the epoch's mean loss; reset step and sums unless the epoch is still open.

        Arguments
        ---------
        epoch : int
            Number of the epoch.

        Raises
        ------
        RuntimeError
            If micro-batches wait for an update: the loader did not tell where its epoch ends.
        """
        if len(self._group):
            raise RuntimeError(
                f"epoch {epoch}: {len(self._group)} micro-batches were not applied; expected the "
                "last batch to have ends_epoch = True, or a loader with a length."
            )
        self.train_loss = self.mean_train_loss()
        self.on_stage_end(Stage.TRAIN, self.train_loss, epoch)
        if not self.epoch_is_open:
            self.step, self.train_sums = 0, [0.0, 0]

    def mean_train_loss(self) -> float:
        """Return the loss per unit over the epoch so far and all ranks; NaN before any."""
        total, count = self.train_sums
        return total / count if count else float("nan")

    def _wrap_distributed(self) -> None:
        wrap_distributed(self)

    def _fit_train(self, train_set: Any, epoch: int, enable: bool) -> None:
        with self.clock.running("train"):
            loops.train_epoch(self, train_set, epoch=epoch, show=enable)

    def _fit_valid(self, valid_set: Any, epoch: int, enable: bool) -> None:
        if valid_set is not None:
            with self.clock.running("valid"):
                loops.run_stage(self, valid_set, Stage.VALID, epoch=epoch, show=enable)
        if self.must_stop and not self.is_finished:
            self.end_run()  # a recipe's validation saves; without validation data nothing is saved

    def end_run(self) -> None:
        """End the process: the run was asked to stop, and has saved a checkpoint."""
        loops.end_run(self)

    def _should_save_intra_epoch_ckpt(self, last_ckpt_time: float, steps_since_ckpt: int) -> bool:
        if not loops.may_ask_for_save(self, steps_since_ckpt):
            return False
        return bool(super()._should_save_intra_epoch_ckpt(last_ckpt_time, steps_since_ckpt))

    @torch.no_grad()
    def evaluate_batch(self, batch: Any, stage: Stage) -> LossSum:
        """Compute the loss of one batch of validation or test data."""
        with self.evaluation_ctx:
            outputs = self.compute_forward(batch, stage=stage)
            loss = self.compute_objectives(outputs, batch, stage=stage)
        return check_loss(loss, is_training=False).detach()

    def evaluate(
        self,
        test_set: Any,
        max_key: str | None = None,
        min_key: str | None = None,
        progressbar: bool | None = None,
        test_loader_kwargs: Mapping[str, Any] | None = None,
    ) -> float:
        """Load the best checkpoint and run the test stage on it.

        Arguments
        ---------
        test_set : Any
            DataLoader or Dataset; every rank gives its own share.
        max_key : str | None
            Statistic that chooses the checkpoint with its highest value.
        min_key : str | None
            Statistic that chooses it with its lowest; both None: ``valid_metric``.
        progressbar : bool | None
            As in :meth:`fit`.
        test_loader_kwargs : Mapping[str, Any] | None
            For ``make_dataloader``, if a Dataset is given.

        Returns
        -------
        float
            Mean loss per unit over all ranks.
        """
        show = not self.noprogressbar if progressbar is None else progressbar
        if not isinstance(test_set, torch.utils.data.DataLoader | LoopedLoader):
            options = {**(test_loader_kwargs or {}), "ckpt_prefix": None}
            test_set = self.make_dataloader(test_set, Stage.TEST, **options)
        self.on_evaluate_start(max_key=max_key, min_key=min_key)
        return loops.run_stage(self, test_set, Stage.TEST, epoch=None, show=show)

    def on_evaluate_start(self, max_key: str | None = None, min_key: str | None = None) -> None:
        """Load the modules of the best checkpoint, or the average of the N best."""
        load_best(self, max_key=max_key, min_key=min_key)

    # --- checkpoint --------------------------------------------------------------------------

    @saver
    def _save(self, path: Path) -> None:
        state = {
            "step": self.step,
            "optimizer_step": self.optimizer_step,
            "num_utterances": self.num_utterances,
            "train_sums": self.train_sums,
            "train_loss": self.train_loss,
            "num_skipped": self.nonfinite.num_skipped,
            "nonfinite_in_a_row": self.nonfinite.in_a_row,
        }
        Path(path).write_text(json.dumps(state), encoding="utf-8")

    @loader
    def _recover(self, path: Path, end_of_epoch: bool) -> None:
        del end_of_epoch
        state = json.loads(Path(path).read_text(encoding="utf-8"))
        self.step, self.num_utterances = state["step"], state["num_utterances"]
        self.optimizer_step = self.first_update = state["optimizer_step"]
        self.train_sums, self.train_loss = state["train_sums"], state["train_loss"]
        self.nonfinite.num_skipped = state["num_skipped"]
        self.nonfinite.in_a_row = state["nonfinite_in_a_row"]
