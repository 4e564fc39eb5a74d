"""The RNN-T of MLPerf Training: greedy word errors on dev-clean by averaged parameters.

For an utterance with tokens y_1..y_U and encoder steps 1..E the loss is Graves's (2012, equation
17): minus the log of the summed probability of all monotonic paths. Losses are summed over
utterances and divided by their number, never by a length. Speed, order, optimizer, schedule,
average and search are the benchmark's (README, "What it is").

On the device: speed, silence, features, SpecAugment, model, loss and update. The host knows
lengths before silence is cut, and shapes follow from these, so a batch waits for nothing; one
exchange per update remains, by which all ranks learn whether to apply it.

Axes: B utterances, S samples, N spliced frames, E encoder steps, U tokens.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from speechbrain import Stage
from torch import Tensor
from torch.optim import Optimizer

from data_prepare.global_batches import GlobalBatchLoader
from recipes.common.brain import StampedeBrain
from recipes.common.lengths import absolute
from recipes.common.loss import LossSum
from recipes.common.reporting import merge_scores, report_recognition
from recipes.common.scoring import METRICS, TextScores
from recipes.common.update import GradGroup, gradients
from recipes.LibriSpeech.ASR.transducer.ema import ModelAverage
from recipes.LibriSpeech.ASR.transducer.features import host_frames, splice
from recipes.LibriSpeech.ASR.transducer.late import Pending, scale_on_device, send
from recipes.LibriSpeech.ASR.transducer.mlperf import MLPerfLog, NoMLPerfLog
from recipes.LibriSpeech.ASR.transducer.schedule import EpochDecay
from recipes.LibriSpeech.ASR.transducer.tokenizer import refuse_unknown


class Transducer(StampedeBrain):
    """LSTM transducer with the benchmark's way of training; see the module.

    Arguments
    ---------
    *arguments : Any
        Those of :class:`recipes.common.brain.StampedeBrain`.
    **options : Any
        Likewise.
    """

    valid_figures = ("loss", *METRICS)
    epoch = 0
    test_set = "test"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.average: ModelAverage | None = None
        if self.hparams.ema_decay is not None:
            self.average = ModelAverage(
                self.raw_modules, decay=self.hparams.ema_decay, foreach=self.hparams.foreach
            )
            if self.checkpointer is not None:
                self.checkpointer.add_recoverable("average", self.average)
        if self.scaler.is_enabled():
            start = {**self.scaler.state_dict(), "scale": float(self.hparams.fp16_scale)}
            self.scaler.load_state_dict(start)
        self._pending: Pending | None = None
        path = self.hparams.mlperf_log
        self.mlperf = NoMLPerfLog()
        if path is not None:
            self.mlperf = MLPerfLog(path, **self.hparams.submission)
        self.mlperf.begin(self)

    # --- forward and loss --------------------------------------------------------------------

    def compute_forward(self, batch: Any, stage: Stage) -> dict[str, Any]:
        """Return `losses` [B], and in VALID and TEST `hypotheses`, a list of B lists of tokens."""
        num_samples = absolute(batch.wavs.lengths, batch.wavs.data).tolist()
        num_tokens = absolute(batch.tokens.lengths, batch.tokens.data).tolist()
        position = batch.position
        if stage == Stage.TRAIN:
            refuse_unknown(batch, num_tokens)
        batch = batch.to(self.device, non_blocking=True)
        wavs, tokens = batch.wavs.data, batch.tokens.data  # [B, S], [B, U]
        if stage == Stage.TRAIN and self.hparams.speed_perturb is not None:
            percents = self.hparams.speed_perturb.percents(batch.id, position.pass_number)
            wavs, num_samples = self.hparams.speed_perturb(wavs, num_samples, percents)
        feats, num_frames = self._features(wavs, num_samples, stage)

        bounds = host_frames(num_samples)
        order = sorted(range(len(bounds)), key=lambda place: -bounds[place])
        index = self._on_device(order)
        bounds, num_tokens = [bounds[i] for i in order], [num_tokens[i] for i in order]
        tokens, num_frames = tokens[index], num_frames[index]
        encoded, num_steps = self.modules.encoder(
            feats.index_select(1, index),
            num_frames,
            host_frames=bounds if self.hparams.splits_sequences else None,
        )
        predicted = self.modules.predictor(tokens)  # [B, U + 1, J]
        stack: Any = self.raw_modules["encoder"].stack
        losses = self.modules.joint(
            encoded,
            predicted,
            tokens,
            num_steps=num_steps,
            num_tokens=self._on_device(num_tokens),
            host_rows=sum(
                -(-b // stack) * (u + 1) for b, u in zip(bounds, num_tokens, strict=True)
            ),
        )
        outputs: dict[str, Any] = {"losses": losses}
        if stage != Stage.TRAIN:
            found = self.hparams.search(encoded, num_steps)
            outputs["hypotheses"] = [tokens for _, tokens in sorted(zip(order, found, strict=True))]
        return outputs

    def _features(
        self, wavs: Tensor, num_samples: list[int], stage: Stage
    ) -> tuple[Tensor, Tensor]:
        """Return spliced features [N, B, F] and their lengths [B]."""
        mels, num_frames = self.modules.front_end(wavs, self._on_device(num_samples))
        if stage == Stage.TRAIN and self.hparams.spec_augment is not None:
            mels = self.hparams.spec_augment(mels, num_frames)
        return splice(mels, num_frames, in_feats=self.hparams.in_feats)

    def _on_device(self, numbers: list[int]) -> Tensor:
        return torch.tensor(numbers).to(self.device, non_blocking=True)

    def compute_objectives(self, predictions: dict[str, Any], batch: Any, stage: Stage) -> LossSum:
        """Return the loss, summed over utterances; in VALID and TEST keep the texts."""
        losses = predictions["losses"]
        if batch.is_padding:
            return LossSum(losses.sum() * 0.0, 0)
        if stage != Stage.TRAIN:
            self.scores.append(
                batch.id,
                references=[text.lower() for text in batch.text],
                hypotheses=self.tokenizer.decode(predictions["hypotheses"]),
                categories=batch.category,
            )
        return LossSum(losses.sum(), len(losses))

    # --- training ----------------------------------------------------------------------------

    def fit(
        self,
        epoch_counter: Iterable[int],
        train_set: Any,
        valid_set: Any = None,
        progressbar: bool | None = None,
        train_loader_kwargs: Mapping[str, Any] | None = None,
        valid_loader_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        """Train; before, take from the loader what an update and an epoch are.

        Arguments
        ---------
        epoch_counter : Iterable[int]
            See :meth:`recipes.common.brain.StampedeBrain.fit`.
        train_set : Any
            A GlobalBatchLoader decides how many micro-batches make an update.
        valid_set : Any
            Validation data.
        progressbar : bool | None
            As there.
        train_loader_kwargs : Mapping[str, Any] | None
            As there.
        valid_loader_kwargs : Mapping[str, Any] | None
            As there.
        """
        self.take_loader(train_set)
        with self.mlperf.run(self, train_set, valid_set):
            super().fit(
                epoch_counter,
                train_set,
                valid_set,
                progressbar,
                train_loader_kwargs,
                valid_loader_kwargs,
            )

    def take_loader(self, train_set: Any) -> None:
        """Take the micro-batches of an update and the updates of an epoch."""
        if isinstance(train_set, GlobalBatchLoader):
            self.grad_accumulation_factor = train_set.accumulation
            self._bind_schedule(train_set.updates_per_epoch)

    def _bind_schedule(self, updates_per_epoch: int) -> None:
        schedule = self.options.update_schedule
        if isinstance(schedule, EpochDecay) and schedule.updates_per_epoch is None:
            schedule.updates_per_epoch = updates_per_epoch

    def optimizers_step(self) -> None:
        """Apply the group's mean gradient; with `reports_late` its outcome is read later."""
        if self.scaler.is_enabled() or not self.hparams.reports_late:
            super().optimizers_step()
            return
        group, self._group = self._group, GradGroup()
        optimizers = [o for o in self._active_optimizers() if gradients([o])]
        flags = (self.seconds_left <= 0, self.stop_file.is_there)
        grads = gradients(optimizers)
        sums = scale_on_device(group, grads, max_norm=self.norm_limit, flags=flags)
        if self.update_schedule is not None:
            self.update_schedule.set_rates(optimizers, update=self.optimizer_step)
        self.apply_update(optimizers)
        self.optimizer_step += 1
        self.modules.zero_grad(set_to_none=True)
        self.read_pending()
        rate = optimizers[0].param_groups[0]["lr"]
        ids = [name for part in group.ids for name in part]
        self._pending = Pending(self.optimizer_step, rate, *send(sums), ids)

    def read_pending(self) -> None:
        """Take in what the last update did, if that has not been read."""
        if self._pending is None:
            return
        report, num_late, num_asked = self._pending.take()
        self._pending = None
        self.is_out_of_time, self.must_stop = num_late > 0, num_asked > 0
        self.num_utterances += report.count
        total, count = self.train_sums
        self.train_sums = [total + report.loss * report.count, count + report.count]
        self.on_update_end(report)

    def end_epoch(self, epoch: int) -> None:
        """Report the epoch's mean loss, that of its last update included."""
        self.read_pending()
        super().end_epoch(epoch)

    def _save_intra_epoch_ckpt(self) -> None:
        self.read_pending()
        super()._save_intra_epoch_ckpt()

    def apply_update(self, optimizers: list[Optimizer]) -> None:
        """Step the optimizers and take the new parameters into the average."""
        super().apply_update(optimizers)
        if self.average is not None:
            self.average.update()

    @property
    def is_finished(self) -> bool:
        """Whether a limit is reached, or the target, where training shall stop at it."""
        is_reached = self.clock.target_reached_s is not None
        return super().is_finished or (self.hparams.stops_at_target and is_reached)

    # --- stages ------------------------------------------------------------------------------

    def on_stage_start(self, stage: Stage, epoch: int | None = None) -> None:
        """Begin to collect texts; validation and test see the averaged parameters."""
        self.epoch = self.epoch if epoch is None else epoch
        self.scores = TextScores()
        self.mlperf.stage_start(stage, self.epoch)
        if stage != Stage.TRAIN and self.average is not None:
            self.average.swap()

    def on_stage_end(self, stage: Stage, stage_loss: float, epoch: int | None = None) -> None:
        """Merge the ranks' scores and log them; after validation save."""
        if stage == Stage.TRAIN:
            self.mlperf.stage_end(stage, self.epoch, None)
            return
        if self.average is not None:
            self.average.swap()
        figures = merge_scores(self, stage_loss)
        self.mlperf.stage_end(stage, self.epoch, self.results)
        report_recognition(self, stage, figures)
