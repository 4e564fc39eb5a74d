"""Binary cross-entropy of the output steps of clips of different lengths."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from recipes.common.lengths import padding_mask


def summed_bce(
    logits: Tensor, labels: Tensor, *, num_steps: Tensor, pos_weight: float | None = None
) -> Tensor:
    """Return - sum over clips and their steps of w y log p + (1 - y) log(1 - p), p = sigmoid(z).

    Arguments
    ---------
    logits : Tensor
        [B, T'] z, float32 or float64.
    labels : Tensor
        [B, T'] y, 0 or 1.
    num_steps : Tensor
        [B] steps of each clip; those beyond weigh nothing.
    pos_weight : float | None
        w of steps with label 1; None: 1.

    Returns
    -------
    Tensor
        [] in the type of the logits.
    """
    losses = F.binary_cross_entropy_with_logits(
        logits,
        labels.to(logits.dtype),
        reduction="none",
        pos_weight=None if pos_weight is None else logits.new_tensor(float(pos_weight)),
    )
    return losses.masked_fill(padding_mask(num_steps, losses), 0.0).sum()
