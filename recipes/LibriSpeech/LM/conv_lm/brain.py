"""Gated convolutional language model of letters, word pieces or words.

Y. Dauphin et al., "Language Modeling with Gated Convolutional Networks", ICML 2017; the sizes of
T. Likhomanenko et al., "Who Needs Words? Lexicon-Free Speech Recognition", Interspeech 2019. The
loss is -ln p of every word given those before it in its example, summed; the trainer divides it by
their number.

Axes: B examples, T words.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from speechbrain import Stage
from torch import Tensor

from recipes.common.brain import StampedeBrain
from recipes.common.distributed import all_reduce_sum
from recipes.common.loss import LossSum
from recipes.common.reporting import report_stage


class LM(StampedeBrain):
    """Trains `modules.model`, a `ConvLM`."""

    valid_figures = ("loss", "perplexity")
    epoch = 0
    test_set = "test"
    num_examples: Tensor

    def on_fit_start(self) -> None:
        """Check that the model has as many words as the vocabulary."""
        num_words, wanted = self.raw_modules["model"].num_words, self.tokenizer.size()
        if num_words != wanted:
            raise ValueError(
                f"ConvLM: the model's num_words is {num_words}, the vocabulary "
                f"{self.tokenizer.path} has {wanted} numbers, special and unused ones included; "
                f"expected the same; give num_words {wanted} (as --model.num_words where --model "
                "names a file), or another tokens_file."
            )
        super().on_fit_start()

    def compute_forward(self, batch: Any, stage: Stage) -> dict[str, Any]:
        """Return `losses` [K] of the words of the batch."""
        batch = batch.to(self.device)
        return {"losses": self.modules.model(batch.inputs, batch.targets)}

    def compute_objectives(self, predictions: dict[str, Any], batch: Any, stage: Stage) -> LossSum:
        """Return the loss, summed over words."""
        losses = predictions["losses"]
        if batch.is_padding:
            return LossSum(losses.sum() * 0.0, 0)
        if stage != Stage.TRAIN:
            self.num_examples += len(batch.id)
        return LossSum(losses.sum(), len(losses))

    def on_stage_start(self, stage: Stage, epoch: int | None = None) -> None:
        """Set up the stage's counter."""
        self.epoch = self.epoch if epoch is None else epoch
        self.num_examples = torch.zeros((), dtype=torch.int64, device=self.device)

    def on_stage_end(self, stage: Stage, stage_loss: float, epoch: int | None = None) -> None:
        """Log loss and perplexity; after validation choose rate and checkpoint."""
        if stage == Stage.TRAIN:
            return
        figures = {"loss": stage_loss, "perplexity": math.exp(min(stage_loss, 700.0))}
        self.results = {**figures, "examples": int(all_reduce_sum(self.num_examples))}
        report_stage(self, stage, figures)
