"""Trigger-word detection: binary cross-entropy at every output step of a convolution and two GRUs.

The detector of the trigger-word exercise of the course "Sequence Models" (deeplearning.ai, 2018),
whose training in mixed precision S. Garg compared in public notebooks. For step t with label y_t,
1 in the `label_ms` after a trigger's end, and logit z_t,

    loss = - sum_t w y_t log sigmoid(z_t) + (1 - y_t) log sigmoid(-z_t),

summed over the batch; the trainer divides it by the number of steps. w is `pos_weight`.

Axes: B clips, S samples, T feature frames, F bins, T' output steps.
"""

from __future__ import annotations

from typing import Any

import torch
from speechbrain import Stage
from torch import Tensor
from torch.nn import functional as F

from recipes.common.brain import StampedeBrain
from recipes.common.lengths import absolute
from recipes.common.loss import LossSum
from recipes.common.reporting import merge_scores, report_stage
from recipes.TriggerWord.Detection.conv_gru.events import EventRules
from recipes.TriggerWord.Detection.conv_gru.labels import end_steps, label_steps, steps_of
from recipes.TriggerWord.Detection.conv_gru.loss import summed_bce
from recipes.TriggerWord.Detection.conv_gru.scores import DetectionScores, Scored

SHOWN = ("average_precision", "event_recall", "false_alarms_per_hour", "latency_ms")


class Detector(StampedeBrain):
    """Frame-wise detector of one word."""

    valid_figures = ("loss", "bce", "bce_prior", "average_precision", "event_f1")
    epoch = 0
    test_set = "test"

    def compute_forward(self, batch: Any, stage: Stage) -> dict[str, Tensor]:
        """Return `logits` [B, T'], one an output step, and `num_samples` [B]."""
        batch = batch.to(self.device)
        wavs, wav_lens = batch.wavs  # [B, S], [B]
        if stage == Stage.TRAIN and self.hparams.wav_augment is not None:
            wavs, wav_lens = self.hparams.wav_augment(wavs, wav_lens)
        with torch.no_grad(), torch.autocast(wavs.device.type, enabled=False):
            feats = self.modules.spectrogram(wavs)  # [B, T, F]
            feats = self.modules.normalize(feats, wav_lens, epoch=self.epoch)
        return {"logits": self.modules.detector(feats), "num_samples": absolute(wav_lens, wavs)}

    def compute_objectives(
        self, predictions: dict[str, Tensor], batch: Any, stage: Stage
    ) -> LossSum:
        """Return the loss, summed over output steps; in VALID and TEST keep what was said."""
        logits = predictions["logits"].float()  # [B, T']
        clips = self.clips_of(batch, predictions["num_samples"].tolist())
        num_steps = torch.tensor([len(clip.labels) for clip in clips], device=logits.device)
        labels = torch.nn.utils.rnn.pad_sequence(
            [torch.from_numpy(clip.labels) for clip in clips], batch_first=True
        ).to(logits.device)
        labels = F.pad(labels, (0, logits.shape[1] - labels.shape[1]))
        weight = self.hparams.pos_weight
        total = summed_bce(logits, labels, num_steps=num_steps, pos_weight=weight)
        if batch.is_padding:
            return LossSum(total * 0.0, 0)
        if stage != Stage.TRAIN:
            probs = logits.sigmoid().cpu().numpy()
            self.scores.items += [
                Scored(c.id, row[: len(c.labels)].copy(), c.labels, c.ends, c.rules, c.duration_s)
                for c, row in zip(clips, probs, strict=True)
            ]
        return LossSum(total, sum(len(clip.labels) for clip in clips))

    def clips_of(self, batch: Any, num_samples: list[int]) -> list[Scored]:
        """Return labels and event rules of each clip of a batch; without probabilities."""
        return [self.clip_of(*row) for row in zip(batch.id, batch.notes, num_samples, strict=True)]

    def clip_of(self, name: str, notes: dict[str, Any], num_samples: int) -> Scored:
        """Return labels and event rules of a clip.

        Its notes hold `trigger_ends_ms`; a corpus of negatives only may leave it out.
        """
        spectrogram: Any = self.raw_modules["spectrogram"]
        detector: Any = self.raw_modules["detector"]
        num_steps = detector.num_steps(spectrogram.num_frames(num_samples))
        duration_ms = 1000.0 * num_samples / self.hparams.rate_hz
        scale = {"num_steps": num_steps, "duration_ms": duration_ms}
        ends = end_steps(notes.get("trigger_ends_ms", []), **scale)
        rules = EventRules(
            threshold=self.hparams.threshold,
            refractory=steps_of(self.hparams.refractory_ms, **scale),
            width=steps_of(self.hparams.label_ms, **scale),
            tolerance=steps_of(self.hparams.match_tolerance_ms, **scale),
            early=steps_of(self.hparams.match_early_ms, **scale),
        )
        labels = label_steps(ends, num_steps=num_steps, width=rules.width).numpy()
        return Scored(name, labels[:0], labels, tuple(ends), rules, duration_ms / 1000.0)

    def on_stage_start(self, stage: Stage, epoch: int | None = None) -> None:
        """Set up the stage's scores."""
        self.epoch = self.epoch if epoch is None else epoch
        self.scores = DetectionScores()

    def on_stage_end(self, stage: Stage, stage_loss: float, epoch: int | None = None) -> None:
        """Merge the ranks' scores and log them; after validation choose rate and checkpoint."""
        if stage == Stage.TRAIN:
            return
        figures = merge_scores(self, stage_loss)
        report_stage(
            self,
            stage,
            figures,
            more={name: self.results[name] for name in SHOWN},
            folder="events",
            write=self.scores.write_events,
        )
