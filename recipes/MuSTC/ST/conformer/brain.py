"""Direct speech translation: Conformer with CTC on its middle, compressed by CTC, and a decoder.

The system of M. Gaido et al., "Efficient yet Competitive Speech Translation: FBK@IWSLT2022",
https://arxiv.org/abs/2205.02629. For an utterance with transcript s, translation y_1..y_U and
encoder output h (of its middle block: g),

    loss = - sum_u log p(y_u | y_<u, h) [label-smoothed] - w * log p_ctc(s | g),

summed over the batch. In training the sum is divided by the number of transcript tokens, their end
counted, of all micro-batches of an update (``normalize_by``); in validation by the number of
translation tokens and by ln 2, so that it is in bits. Both are fairseq's ways.

Axes: B utterances, S samples, T frames, L encoder steps, R compressed steps, U tokens.
"""

import math
from pathlib import Path
from typing import Any

import torch
from speechbrain import Stage
from speechbrain.utils.logger import get_logger
from torch import Tensor

from recipes.common.brain import StampedeBrain
from recipes.common.distributed import all_reduce_sum, world_size
from recipes.common.initial import start_from
from recipes.common.lengths import absolute
from recipes.common.loss import LossSum
from recipes.common.reporting import merge_scores, report_stage
from recipes.MuSTC.ST.conformer.encoder import Encoded
from recipes.MuSTC.ST.conformer.losses import ctc_loss, translation_loss
from recipes.MuSTC.ST.conformer.scoring import METRICS, TranslationScores

logger = get_logger(__name__)

FRAMES_PER_S = 100
UNITS = ("source_tokens", "target_tokens", "utterances")


class SpeechTranslation(StampedeBrain):
    """Translates speech, with an auxiliary CTC loss on the transcript."""

    valid_figures = ("loss", *METRICS, "ctc_loss", "compression")
    epoch = 0
    test_set = "test"
    sums: Tensor  # of the stage: CTC loss, source tokens, steps, compressed steps, infeasible

    def compute_forward(self, batch: Any, stage: Stage) -> dict[str, Any]:
        """Return `logits` [B, U, V] and `encoded`; in VALID and TEST `hypotheses` if searched."""
        num_samples = absolute(batch.wavs.lengths, batch.wavs.data)  # before it is on the device
        batch = batch.to(self.device)
        wavs, _ = batch.wavs  # [B, S]
        feats, num_frames = self.modules.features(wavs, num_samples)
        if stage == Stage.TRAIN and self.hparams.spec_augment is not None:
            feats = self.hparams.spec_augment(feats, num_frames)
        encoded: Encoded = self.modules.encoder(feats, num_frames, self.is_compressing(stage))
        tokens_bos, _ = batch.tokens_bos  # [B, U]
        logits = self.modules.decoder(tokens_bos, encoded.states, encoded.lengths)
        outputs: dict[str, Any] = {"logits": logits, "encoded": encoded}
        search = self.search_of(stage)
        if search is not None:
            # Not the wrapped decoder: its methods are not those of the module.
            decoder = self.raw_modules["decoder"]
            prefix, _ = batch.prefix  # [B, P]
            outputs["hypotheses"] = search(decoder, encoded.states, encoded.lengths, prefix)
        return outputs

    def compute_objectives(self, predictions: dict[str, Any], batch: Any, stage: Stage) -> LossSum:
        """Return the joint loss as a sum with its units; in VALID and TEST keep the texts."""
        encoded: Encoded = predictions["encoded"]
        tokens_eos, eos_lens = batch.tokens_eos  # [B, U]
        num_targets = absolute(eos_lens, tokens_eos)  # [B]
        source, source_lens = batch.source_tokens  # [B, U']
        num_sources = absolute(source_lens, source)
        total = translation_loss(
            predictions["logits"],
            tokens_eos,
            num_targets,
            label_smoothing=self.hparams.label_smoothing,
            num_ignored=batch.prefix.data.shape[1] - 1,
        )
        ctc, num_infeasible = ctc_loss(
            encoded.ctc_logits,
            encoded.ctc_lengths,
            source,
            num_sources,
            blank_index=self.hparams.blank_index,
        )
        total = total + self.hparams.ctc_weight * ctc
        if batch.is_padding:
            return LossSum(total * 0.0, 0)
        num_source_tokens = num_sources.sum() + len(num_sources)  # each transcript's end counted
        steps = encoded.ctc_lengths.sum(), encoded.lengths.sum()
        sums = (ctc.detach(), num_source_tokens, *steps, num_infeasible)
        self.sums += torch.stack([value.double() for value in sums])
        if stage == Stage.TRAIN:
            units = (num_source_tokens, num_targets.sum(), len(num_targets))
            return LossSum(total, int(units[UNITS.index(self.hparams.normalize_by)]))
        if "hypotheses" in predictions:
            self.scores.append(
                batch.id,
                sources=[notes["source"] for notes in batch.notes],
                references=batch.text,
                hypotheses=self.tokenizer.decode(predictions["hypotheses"]),
            )
        return LossSum(total / math.log(2), int(num_targets.sum()))

    def is_compressing(self, stage: Stage) -> bool:
        """Whether the encoder compresses: from update `compress_start_step` on, and in tests."""
        return stage == Stage.TEST or self.optimizer_step >= self.hparams.compress_start_step

    def search_of(self, stage: Stage) -> Any:
        """Return the searcher of a stage; None: nothing is translated."""
        if stage == Stage.TRAIN:
            return None
        return self.hparams.valid_search if stage == Stage.VALID else self.hparams.test_search

    # --- the run -----------------------------------------------------------------------------

    def on_fit_start(self) -> None:
        """Check what the run rests on; a new run takes the parameters of `init_folder`."""
        self.check_options()
        if self.hparams.init_folder is not None:
            start_from(self, Path(self.hparams.init_folder), choice=self.hparams.init_choice)
        super().on_fit_start()

    def check_options(self) -> None:
        """Raise a ValueError that names all options of the recipe that are wrong."""
        faults = []
        if self.hparams.normalize_by not in UNITS:
            faults.append(f"normalize_by is {self.hparams.normalize_by!r}; expected one of {UNITS}")
        start, weight = self.hparams.compress_start_step, self.hparams.ctc_weight
        if start < 0 or weight < 0:
            faults.append(
                f"compress_start_step is {start}, ctc_weight {weight}; expected 0 or more"
            )
        parts = self.hparams.max_batch_s, self.grad_accumulation_factor, world_size()
        wanted, frames = self.hparams.frames_per_update, round(FRAMES_PER_S * math.prod(parts))
        if wanted not in (None, frames):
            faults.append(
                f"frames_per_update is {wanted}; {parts[0]:g} s a batch x {parts[1]} "
                f"micro-batches x {parts[2]} ranks are {frames}; change grad_accumulation_factor "
                "or max_batch_s with the number of ranks, or write null"
            )
        if faults:
            raise ValueError("speech translation: " + "; ".join(faults) + ".")

    def on_stage_start(self, stage: Stage, epoch: int | None = None) -> None:
        """Set up the stage's counters."""
        self.epoch = self.epoch if epoch is None else epoch
        self.scores = TranslationScores()
        self.sums = torch.zeros(5, dtype=torch.float64, device=self.device)

    def on_stage_end(self, stage: Stage, stage_loss: float, epoch: int | None = None) -> None:
        """Merge the ranks' scores and log them; after validation choose checkpoint and end."""
        ctc, tokens, steps, kept, infeasible = all_reduce_sum(self.sums).tolist()
        shares = {"ctc_loss": ctc / max(tokens, 1), "compression": kept / max(steps, 1)}
        if stage == Stage.TRAIN:
            self.run_log.curves("train", shares, number=self.optimizer_step)
            self.warn_of_infeasible(int(infeasible))
            return
        figures = merge_scores(self, stage_loss, **shares)
        signatures = self.results["signatures"].items() if stage == Stage.TEST else ()
        report_stage(
            self,
            stage,
            {name: value for name, value in figures.items() if value is not None},
            more={f"{metric}_signature": text for metric, text in signatures},
            folder="translations",
            write=self.scores.write if self.scores.items else None,
        )

    def evaluate(self, test_set: Any, *arguments: Any, **options: Any) -> float:
        """Test, and make sure that every utterance of the set was translated."""
        loss = super().evaluate(test_set, *arguments, **options)
        index = getattr(test_set, "index", None)
        num = self.results["utterances"]
        if index is not None and not self.debug and num != index.num_utterances:
            raise RuntimeError(
                f"test {self.test_set}: {num} of {index.num_utterances} utterances were "
                "translated; expected all, or the score is that of another set; raise "
                "valid_batch_s, or prepare the split anew."
            )
        return loss

    def warn_of_infeasible(self, num: int) -> None:
        """Log how many utterances had no CTC alignment in this epoch, over all ranks."""
        if num:
            logger.warning(
                "ctc: %d utterances have more transcript tokens than encoder steps and gave no "
                "CTC loss; raise source_vocab_size, or leave out fast speech when preparing.",
                num,
            )
