"""Word pieces by time-depth separable convolutions and an attention decoder.

A. Hannun, A. Lee, Q. Xu, R. Collobert, "Sequence-to-sequence speech recognition with time-depth
separable convolutions", 2019, https://arxiv.org/abs/1904.02619, as in wav2letter's mixed-precision
recipe. For an utterance with tokens y_1..y_U, the end token last,

    loss = - sum_u log p(y_u | y_<u, x)   (labels smoothed in training),

summed over utterances; the trainer divides it by their number over all ranks. In the first epochs
the attention is drawn to the diagonal; some input tokens are replaced by random ones.

Axes: B utterances, S samples, T' encoder frames, U tokens, V vocabulary.
"""

from collections.abc import Sequence
from typing import Any

import torch
from speechbrain import Stage
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from recipes.common.loss import LossSum
from recipes.LibriSpeech.wav2letter.attention import replace_at_random, smoothed_loss, soft_window
from recipes.LibriSpeech.wav2letter.training import Wav2letterBrain


class ASR(Wav2letterBrain):
    """TDS encoder with attention decoder."""

    criterion_names = ("decoder",)

    def compute_forward(self, batch: Any, stage: Stage) -> dict[str, Any]:
        """Return `logits` [B, U, V], `targets` [B, U] and `num_targets` [B].

        In VALID and TEST also `hypotheses`, a list of B lists of token indexes.
        """
        batch = batch.to(self.device)
        wavs, wav_lens = batch.wavs  # [B, S], [B]
        is_training = stage == Stage.TRAIN
        if is_training and self.hparams.wav_augment is not None:
            wavs, wav_lens = self.hparams.wav_augment(wavs, wav_lens)
        feats, num_frames = self.modules.features(wavs, wav_lens)
        if is_training and self.hparams.fea_augment is not None:
            feats, _ = self.hparams.fea_augment(feats, num_frames / feats.shape[1])
        encoded, lengths = self.modules.encoder(feats, num_frames)  # [B, T', 2 H], [B]

        targets, num_targets = self.targets(batch.text, is_training=is_training)
        before = targets[:, :-1]
        if is_training:
            before = replace_at_random(
                before,
                share=1 - self.hparams.pct_teacher_forcing / 100,
                num_tokens=self.hparams.num_tokens,
            )
        window = None
        if stage != Stage.TEST:
            window = self.window(lengths, num_targets, shape=(targets.shape[1], encoded.shape[1]))
        outputs = {
            "logits": self.modules.decoder(encoded, lengths, before, window),
            "targets": targets,
            "num_targets": num_targets,
        }
        if not is_training:
            search = self.hparams.valid_search if stage == Stage.VALID else self.hparams.test_search
            outputs["hypotheses"] = search(self.raw_modules["decoder"], encoded, lengths)
        return outputs

    def targets(self, texts: Sequence[str], *, is_training: bool) -> tuple[Tensor, Tensor]:
        """Return targets [B, U] padded with the end token, which each has at its end, and [B]."""
        end = self.hparams.num_tokens - 1
        rows = [
            torch.tensor([*self.tokenizer.encode(text, is_training=is_training), end])
            for text in texts
        ]
        padded = pad_sequence(rows, batch_first=True, padding_value=end)
        num_targets = torch.tensor([len(row) for row in rows])
        return padded.to(self.device), num_targets.to(self.device)

    def window(
        self, lengths: Tensor, num_targets: Tensor, *, shape: tuple[int, int]
    ) -> Tensor | None:
        """Return the log weights of the attention in the first epochs, None after them."""
        if self.epoch > self.hparams.pretrain_window_epochs:
            return None
        deviation = self.hparams.softw_std
        return soft_window(lengths, num_targets, deviation=deviation, shape=shape)

    def compute_objectives(self, predictions: dict[str, Any], batch: Any, stage: Stage) -> LossSum:
        """Return the cross-entropy, summed over utterances; in VALID and TEST keep the texts."""
        is_training = stage == Stage.TRAIN
        losses = smoothed_loss(
            predictions["logits"],
            predictions["targets"],
            predictions["num_targets"],
            smoothing=self.hparams.label_smoothing if is_training else 0.0,
            on_padding=is_training and self.hparams.train_on_target_padding,
        )
        if batch.is_padding:
            return LossSum(losses.sum() * 0.0, 0)
        if not is_training:
            self.note_texts(batch, predictions["hypotheses"])
            return LossSum(losses.sum(), len(batch.id))
        return LossSum(losses.sum(), self.num_units(batch))
