"""CRDNN encoder, location-aware attention decoder, CTC on the encoder in the first epochs.

The model of A. Umashankar, "Large Scale Speech Recognition with Deep Learning" (Aalto University,
2021), after Chorowski et al. 2015 (attention) and Watanabe et al. 2017 (joint loss). For an
utterance with tokens y_1..y_U and encoder output h,

    loss = - (1 - w) * sum_u log p(y_u | y_<u, h) - w * log p_ctc(y | h),

summed over the batch; the trainer divides it by the number of target tokens (end token included)
of all micro-batches of an update. w is ``ctc_weight`` up to epoch ``ctc_epochs``, then 0.

Axes: B utterances, S samples, T feature frames, T' encoder frames, U tokens, V vocabulary.
"""

from typing import Any

import torch
from speechbrain import Stage
from speechbrain.utils.logger import get_logger
from torch import Tensor
from torch.nn import functional as F

from recipes.common.brain import StampedeBrain
from recipes.common.distributed import all_reduce_sum
from recipes.common.lengths import absolute, padding_mask
from recipes.common.loss import LossSum
from recipes.common.reporting import merge_scores, report_recognition
from recipes.common.scoring import METRICS, TextScores
from recipes.common.tokens import count_ctc_labels, ctc_feasible

logger = get_logger(__name__)

IGNORED = -100  # target of padded positions, left out of the loss


class ASR(StampedeBrain):
    """Attention model with an auxiliary CTC loss."""

    valid_figures = ("loss", *METRICS)
    epoch = 0
    test_set = "test"
    num_infeasible: Tensor

    def compute_forward(self, batch: Any, stage: Stage) -> dict[str, Any]:
        """Return `seq_logits` [B, U + 1, V], and what the stage needs besides.

        `ctc_logits` [B, T', V] while the CTC loss is on; in VALID and TEST `hypotheses`, a list of
        B lists of token indexes.
        """
        batch = batch.to(self.device)
        wavs, wav_lens = batch.wavs  # [B, S], [B]
        if stage == Stage.TRAIN and self.hparams.wav_augment is not None:
            wavs, wav_lens = self.hparams.wav_augment(wavs, wav_lens)
        with torch.no_grad():
            feats = self.hparams.compute_features(wavs)  # [B, T, F]
            feats = self.modules.normalize(feats, wav_lens, epoch=self.epoch)
        if stage == Stage.TRAIN and self.hparams.fea_augment is not None:
            feats, wav_lens = self.hparams.fea_augment(feats, wav_lens)

        encoded = self.modules.encoder(feats)  # [B, T', H]
        tokens_bos, _ = batch.tokens_bos  # [B, U + 1]
        embedded = self.modules.embedding(tokens_bos)
        decoded, _ = self.modules.decoder(embedded, encoded, wav_lens)
        outputs = {"seq_logits": self.modules.seq_head(decoded), "wav_lens": wav_lens}
        if self.ctc_is_active(stage):
            outputs["ctc_logits"] = self.modules.ctc_head(encoded)
        if stage != Stage.TRAIN:
            search = self.hparams.valid_search if stage == Stage.VALID else self.hparams.test_search
            outputs["hypotheses"] = search(encoded, wav_lens)[0]
        return outputs

    def compute_objectives(self, predictions: dict[str, Any], batch: Any, stage: Stage) -> LossSum:
        """Return the joint loss, summed over target tokens; in VALID and TEST keep the texts."""
        tokens_eos, eos_lens = batch.tokens_eos  # [B, U + 1]
        num_targets = absolute(eos_lens, tokens_eos)  # [B]
        total = F.cross_entropy(
            predictions["seq_logits"].float().flatten(0, 1),
            tokens_eos.masked_fill(padding_mask(num_targets, tokens_eos), IGNORED).flatten(),
            ignore_index=IGNORED,
            label_smoothing=self.hparams.label_smoothing if stage == Stage.TRAIN else 0.0,
            reduction="sum",
        )
        if "ctc_logits" in predictions:
            weight = self.hparams.ctc_weight
            total = (1 - weight) * total + weight * self.ctc_total(predictions, batch)
        if batch.is_padding:
            return LossSum(total * 0.0, 0)
        if stage != Stage.TRAIN:
            self.scores.append(
                batch.id,
                references=batch.text,
                hypotheses=self.tokenizer.decode(predictions["hypotheses"]),
                categories=batch.category,
            )
        return LossSum(total, int(num_targets.sum()))

    def ctc_total(self, predictions: dict[str, Any], batch: Any) -> Tensor:
        """Return -log p_ctc summed over the batch; utterances that cannot be aligned are counted.

        An utterance with more labels than encoder frames has no alignment: its loss is 0 and it
        is counted; the count is logged at the end of the epoch.
        """
        logp = predictions["ctc_logits"].float().log_softmax(-1)  # [B, T', V]
        tokens, token_lens = batch.tokens  # [B, U]
        num_frames = absolute(predictions["wav_lens"], logp)
        num_tokens = absolute(token_lens, tokens)
        is_feasible = ctc_feasible(count_ctc_labels(tokens, num_tokens), num_frames)
        self.num_infeasible += (~is_feasible).sum()
        return F.ctc_loss(
            logp.transpose(0, 1),
            tokens,
            num_frames,
            num_tokens,
            blank=self.hparams.blank_index,
            reduction="sum",
            zero_infinity=True,
        )

    def ctc_is_active(self, stage: Stage) -> bool:
        """Whether the CTC head is trained in this epoch."""
        return stage == Stage.TRAIN and self.epoch <= self.hparams.ctc_epochs

    def on_stage_start(self, stage: Stage, epoch: int | None = None) -> None:
        """Set up the stage's counters."""
        self.epoch = self.epoch if epoch is None else epoch
        self.scores = TextScores()
        self.num_infeasible = torch.zeros((), dtype=torch.int64, device=self.device)

    def on_stage_end(self, stage: Stage, stage_loss: float, epoch: int | None = None) -> None:
        """Merge the ranks' scores and log them; after validation choose rate and checkpoint."""
        if stage == Stage.TRAIN:
            self.warn_of_infeasible()
            return
        report_recognition(self, stage, merge_scores(self, stage_loss))

    def warn_of_infeasible(self) -> None:
        """Log how many utterances had no CTC alignment in this epoch, over all ranks."""
        num = int(all_reduce_sum(self.num_infeasible))
        if num:
            logger.warning(
                "ctc: %d utterances have more labels than encoder frames and gave no CTC loss; "
                "lower time_pooling, raise vocab_size or reject fast speech when preparing.",
                num,
            )
