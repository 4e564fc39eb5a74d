"""Letters by gated convolutions, trained with the auto segmentation criterion (ASG).

V. Liptchinsky, G. Synnaeve, R. Collobert, "Letter-based speech recognition with gated ConvNets",
2017, https://arxiv.org/abs/1712.09444, as in wav2letter's mixed-precision recipe. The loss is ASG's
of each utterance (`recipes.LibriSpeech.wav2letter.asg`), summed over utterances; the trainer
divides it by their number over all ranks.

Axes: B utterances, S samples, T frames, N tokens, L target tokens.
"""

from typing import Any

import torch
from speechbrain import Stage
from speechbrain.utils.logger import get_logger
from torch import Tensor

from recipes.common.distributed import all_reduce_sum
from recipes.common.lengths import absolute
from recipes.common.loss import LossSum
from recipes.LibriSpeech.wav2letter.training import Wav2letterBrain

logger = get_logger(__name__)


class ASR(Wav2letterBrain):
    """Conv GLU with ASG."""

    criterion_names = ("criterion",)
    num_cut: Tensor

    def compute_forward(self, batch: Any, stage: Stage) -> dict[str, Any]:
        """Return `emissions` [B, T, N] and `num_frames` [B]; in VALID and TEST `hypotheses`."""
        batch = batch.to(self.device)
        wavs, wav_lens = batch.wavs  # [B, S], [B]
        if stage == Stage.TRAIN and self.hparams.wav_augment is not None:
            wavs, wav_lens = self.hparams.wav_augment(wavs, wav_lens)
        feats, num_frames = self.modules.features(wavs, wav_lens)  # [B, T, F], [B]
        if stage == Stage.TRAIN and self.hparams.fea_augment is not None:
            feats, _ = self.hparams.fea_augment(feats, num_frames / feats.shape[1])
        emissions = self.modules.network(feats).float()
        outputs = {"emissions": emissions, "num_frames": num_frames}
        if stage != Stage.TRAIN:
            search = self.hparams.valid_search if stage == Stage.VALID else self.hparams.test_search
            transitions = self.raw_modules["criterion"].transitions
            outputs["hypotheses"] = search(emissions, num_frames, transitions)
        return outputs

    def compute_objectives(self, predictions: dict[str, Any], batch: Any, stage: Stage) -> LossSum:
        """Return ASG's loss, summed over utterances; in VALID and TEST keep the texts."""
        targets, target_lens = batch.tokens  # [B, L]
        emissions, num_frames = predictions["emissions"], predictions["num_frames"]
        num_targets = absolute(target_lens, targets)
        losses = self.modules.criterion(
            emissions,
            num_frames,
            targets,
            num_targets,
            is_linear=stage == Stage.TRAIN and self.plan.is_linear,
        )
        if batch.is_padding:
            return LossSum(losses.sum() * 0.0, 0)
        criterion: Any = self.raw_modules["criterion"]
        self.num_cut += (num_targets > criterion.used_frames(emissions, num_frames)).sum()
        if stage != Stage.TRAIN:
            self.note_texts(batch, predictions["hypotheses"])
            return LossSum(losses.sum(), len(batch.id))
        return LossSum(losses.sum(), self.num_units(batch))

    def on_stage_start(self, stage: Stage, epoch: int | None = None) -> None:
        """Set up the stage's counters; in training take the plan of the epoch."""
        super().on_stage_start(stage, epoch)
        self.num_cut = torch.zeros((), dtype=torch.int64, device=self.device)

    def on_stage_end(self, stage: Stage, stage_loss: float, epoch: int | None = None) -> None:
        """Log the scores; tell how many targets were longer than their utterances."""
        num_cut = int(all_reduce_sum(self.num_cut))
        if num_cut:
            logger.warning(
                "asg: %d targets have more tokens than frames and were cut; reject such fast "
                "speech when preparing, or look at the texts.",
                num_cut,
            )
        super().on_stage_end(stage, stage_loss, epoch)
