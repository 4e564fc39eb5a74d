"""The benchmark's log: lines `:::MLLOG {json}` that MLCommons' compliance checker reads.

Keys, their order and their spelling are those of ruleset 2.0.0. Training data are touched after
`run_start` only; what is compiled or warmed up lies before `init_stop`. Rank 0 writes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from speechbrain import Stage
from speechbrain.utils.distributed import if_main_process

from recipes.common.distributed import world_size
from recipes.LibriSpeech.ASR.transducer.lamb import LAMB

TENSORS = ("pre_rnn", "post_rnn", "pred_embed", "dec_rnn", "joint_pred", "joint_enc", "joint_net")
"""Names under which the benchmark wants to see weights initialised."""


class NoMLPerfLog:
    """Writes nothing: the place of the log where none is wanted."""

    def begin(self, brain: Any) -> None:
        """Note that the model is made."""

    @contextmanager
    def run(self, brain: Any, train_set: Any, valid_set: Any) -> Iterator[None]:
        """Surround the training."""
        del brain, train_set, valid_set
        yield

    def stage_start(self, stage: Stage, epoch: int) -> None:
        """Note the start of an epoch or of its validation."""

    def stage_end(self, stage: Stage, epoch: int, results: Mapping[str, Any] | None) -> None:
        """Note its end."""


class MLPerfLog(NoMLPerfLog):
    """Writes the benchmark's log; see the module.

    Arguments
    ---------
    path : str | Path
        File; a new run appends to it.
    organisation : str
        Who submits.
    platform : str
        System that it ran on.
    division : str
        "closed" or "open".
    status : str
        "onprem", "cloud", "preview" or "research".
    caches_cleared : bool
        Whether the nodes' page caches were dropped before the run, as the benchmark's rules ask.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        organisation: str = "unnamed",
        platform: str = "unnamed",
        division: str = "closed",
        status: str = "research",
        caches_cleared: bool = False,
    ) -> None:
        self.path, self._caches_cleared = Path(path), caches_cleared
        self._submission = {
            "submission_benchmark": "rnnt",
            "submission_org": organisation,
            "submission_division": division,
            "submission_status": status,
            "submission_platform": platform,
        }
        self._is_training = False
        self._train_begun_s = 0.0
        self._samples_per_epoch = 0

    # --- lines -------------------------------------------------------------------------------

    def point(self, key: str, value: Any = None, **metadata: Any) -> None:
        """Write a value that belongs to no stretch of time."""
        self._write("POINT_IN_TIME", key, value, metadata)

    def start(self, key: str, **metadata: Any) -> None:
        """Write the start of a stretch of time."""
        self._write("INTERVAL_START", key, None, metadata)

    def stop(self, key: str, **metadata: Any) -> None:
        """Write its end."""
        self._write("INTERVAL_END", key, None, metadata)

    def _write(self, kind: str, key: str, value: Any, metadata: Mapping[str, Any]) -> None:
        if not if_main_process():
            return
        line = {
            "namespace": "",
            "time_ms": round(time.time() * 1000),
            "event_type": kind,
            "key": key,
            "value": value,
            "metadata": {"file": Path(__file__).name, "lineno": 1, **metadata},
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f":::MLLOG {json.dumps(line)}\n")

    # --- what the Brain tells ----------------------------------------------------------------

    def begin(self, brain: Any) -> None:
        """Write who submits, and how the model and its data are set up.

        Arguments
        ---------
        brain : Any
            The trainer.

        Raises
        ------
        ValueError
            If it trains by another optimizer than the benchmark's, the only one of the log.
        """
        optimizer = getattr(brain.opt_class, "func", brain.opt_class)
        if optimizer is not LAMB:
            raise ValueError(
                f"mlperf_log: is {self.path} with opt_class {optimizer.__name__}; expected LAMB, "
                "by which the benchmark trains; change opt_class, or set mlperf_log to null."
            )
        self.point("cache_clear", self._caches_cleared)
        self.start("init_start")
        self.point("seed", brain.hparams.seed)
        for key, value in self._submission.items():
            self.point(key, value)
        self.point("model_weights_initialization_scale", brain.hparams.weights_init_scale)
        for tensor in TENSORS:
            self.point("weights_initialization", tensor=tensor)
        self.point("eval_max_prediction_symbols", brain.hparams.max_tokens)
        self.point("model_eval_ema_factor", brain.hparams.ema_decay or 0.0)
        self.point("data_train_max_duration", brain.hparams.max_utterance_s)
        lowest, highest = brain.hparams.speed
        self.point("data_speed_perturbaton_max", highest)  # the checker's spelling
        self.point("data_speed_perturbaton_min", lowest)
        for name, spans in (
            ("freq", (brain.hparams.freq_masks, 0, brain.hparams.freq_width)),
            ("time", (brain.hparams.time_masks, 0, brain.hparams.time_share)),
        ):
            for part, value in zip(("n", "min", "max"), spans, strict=True):
                self.point(f"data_spec_augment_{name}_{part}", value)

    @contextmanager
    def run(self, brain: Any, train_set: Any, valid_set: Any) -> Iterator[None]:
        """Write the run's start, its data and its optimizer; at the end whether it converged."""
        updates = train_set.updates_per_epoch
        self._samples_per_epoch = updates * brain.hparams.global_batch
        self.point("gradient_accumulation_steps", brain.grad_accumulation_factor)
        self.point("global_batch_size", brain.hparams.global_batch)
        self.stop("init_stop")
        self.start("run_start")
        self.point("data_train_num_buckets", brain.hparams.num_buckets)
        self.point("train_samples", self._samples_per_epoch)
        self.point("eval_samples", valid_set.report()["num_utterances"])
        self._optimizer(brain)
        self._is_training, status = True, "aborted"
        try:
            yield
            status = "success" if brain.clock.target_reached_s is not None else "aborted"
        finally:
            self._is_training = False
            self.stop("run_stop", status=status)

    def _optimizer(self, brain: Any) -> None:
        beta1, beta2 = brain.hparams.betas
        self.point("opt_name", "lamb")
        self.point("opt_base_learning_rate", brain.hparams.lr)
        self.point("opt_lamb_epsilon", brain.hparams.eps)
        self.point("opt_lamb_learning_rate_decay_poly_power", brain.hparams.gamma)
        self.point("opt_learning_rate_warmup_epochs", brain.hparams.warmup_epochs)
        self.point("opt_lamb_learning_rate_hold_epochs", brain.hparams.hold_epochs)
        self.point("opt_lamb_beta_1", beta1)
        self.point("opt_lamb_beta_2", beta2)
        self.point("opt_gradient_clip_norm", brain.norm_limit)
        self.point("opt_learning_rate_alt_decay_func", True)
        self.point("opt_learning_rate_alt_warmup_func", True)
        self.point("opt_lamb_learning_rate_min", brain.hparams.lowest_lr)
        self.point("opt_weight_decay", brain.hparams.weight_decay)

    def stage_start(self, stage: Stage, epoch: int) -> None:
        """Write the start of an epoch or of its validation."""
        if not self._is_training:
            return
        if stage == Stage.TRAIN:
            self.start("block_start", first_epoch_num=epoch, epoch_count=1)
            self.start("epoch_start", epoch_num=epoch)
            self._train_begun_s = time.monotonic()
        elif stage == Stage.VALID:
            self.start("eval_start", epoch_num=epoch)

    def stage_end(self, stage: Stage, epoch: int, results: Mapping[str, Any] | None) -> None:
        """Write its end; after validation the word error rate, as a share."""
        if not self._is_training:
            return
        if stage == Stage.TRAIN:
            self.stop("epoch_stop", epoch_num=epoch)
            seconds = max(time.monotonic() - self._train_begun_s, 1e-9)
            rate = self._samples_per_epoch / seconds
            self.point("throughput", rate, epoch_num=epoch, ranks=world_size())
        elif stage == Stage.VALID and results is not None:
            self.point("eval_accuracy", results["wer_p"] / 100.0, epoch_num=epoch)
            self.stop("eval_stop", epoch_num=epoch)
            self.stop("block_stop", first_epoch_num=epoch)
