"""The two losses of the recipe, as sums."""

import torch
from torch import Tensor
from torch.nn import functional as F

from recipes.common.lengths import padding_mask
from recipes.common.tokens import count_ctc_labels, ctc_feasible

IGNORED = -100  # target of places that are left out of the loss


def translation_loss(
    logits: Tensor,
    tokens: Tensor,
    num_tokens: Tensor,
    *,
    label_smoothing: float,
    num_ignored: int = 0,
) -> Tensor:
    """Return the label-smoothed cross-entropy, summed over tokens.

    With smoothing e over V tokens: (1 - e) * NLL + e / V * the sum of the negative
    log-probabilities of all tokens (Szegedy et al. 2016).

    Arguments
    ---------
    logits : Tensor
        [B, U, V].
    tokens : Tensor
        [B, U] int64, right-padded.
    num_tokens : Tensor
        [B] int64 true lengths.
    label_smoothing : float
        e, within [0, 1).
    num_ignored : int
        First places that are left out: there a forced token stands.

    Returns
    -------
    Tensor
        [] float32.
    """
    targets = tokens.masked_fill(padding_mask(num_tokens, tokens), IGNORED)
    targets = torch.cat(
        [torch.full_like(targets[:, :num_ignored], IGNORED), targets[:, num_ignored:]], 1
    )
    return F.cross_entropy(
        logits.float().flatten(0, 1),
        targets.flatten(),
        ignore_index=IGNORED,
        label_smoothing=label_smoothing,
        reduction="sum",
    )


def ctc_loss(
    logits: Tensor, num_steps: Tensor, tokens: Tensor, num_tokens: Tensor, *, blank_index: int
) -> tuple[Tensor, Tensor]:
    """Return -log p_ctc summed over utterances, and how many have no alignment.

    An utterance with more tokens (and blanks between equal ones) than steps has no alignment: its
    loss is 0, and so is its gradient (Graves et al. 2006).

    Arguments
    ---------
    logits : Tensor
        [B, L, V].
    num_steps : Tensor
        [B] int64 steps, before any compression.
    tokens : Tensor
        [B, U] int64, without start and end, right-padded.
    num_tokens : Tensor
        [B] int64.
    blank_index : int
        Output of the blank.

    Returns
    -------
    tuple[Tensor, Tensor]
        [] float32; [] int64.
    """
    logp = logits.float().log_softmax(-1).transpose(0, 1)  # [L, B, V]
    # cuDNN's kernel gives other gradients from run to run, and asks for other types of lengths.
    with torch.backends.cudnn.flags(enabled=False):
        total = F.ctc_loss(
            logp,
            tokens,
            num_steps,
            num_tokens,
            blank=blank_index,
            reduction="sum",
            zero_infinity=True,
        )
    is_feasible = ctc_feasible(count_ctc_labels(tokens, num_tokens), num_steps)
    return total, (~is_feasible).sum()
