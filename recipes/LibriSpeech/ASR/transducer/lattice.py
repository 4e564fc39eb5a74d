"""The transducer's lattice: from scores of blanks and labels to likelihood and gradient.

The likelihood of an utterance is the sum over all monotonic paths from (step 0, token 0) to the
blank at (E_b - 1, U_b): a blank goes to the next step, a label to the next token (Graves 2012,
section 2.3). Only the two scores of each cell matter, never the other classes.

Axes: B utterances, E encoder steps, P = U + 1 places between tokens, D = E + P - 1 diagonals.
"""

from collections.abc import Callable

import torch
import torchaudio
from torch import Tensor

Solution = tuple[Tensor, Tensor, Tensor]
Lattice = Callable[..., Solution]


def solve(blank: Tensor, label: Tensor, *, num_steps: Tensor, num_tokens: Tensor) -> Solution:
    """Return the negative log-likelihood and its derivatives by both scores.

    On a CPU in float32 torchaudio's kernel does the work, elsewhere the scan.

    Arguments
    ---------
    blank : Tensor
        [B, E, P] log-probability of a blank in each cell.
    label : Tensor
        [B, E, P] log-probability of the next label; the last place of an utterance has none.
    num_steps : Tensor
        [B] int64, E_b >= 1.
    num_tokens : Tensor
        [B] int64, U_b >= 0.

    Returns
    -------
    tuple[Tensor, Tensor, Tensor]
        [B] negative log-likelihoods; [B, E, P] derivatives by `blank` and by `label`, zeros beyond
        the lengths.
    """
    is_plain = blank.device.type == "cpu" and blank.dtype == torch.float32 and blank.shape[2] > 1
    how = by_torchaudio if is_plain else by_scan
    return how(blank, label, num_steps=num_steps, num_tokens=num_tokens)


def by_torchaudio(
    blank: Tensor, label: Tensor, *, num_steps: Tensor, num_tokens: Tensor
) -> Solution:
    """Do what :func:`solve` does by torchaudio's loss on two classes, blank and "the label".

    It wants the longest lengths to fill the axes, so they are cut to them, which waits for the
    device: for CPUs.
    """
    steps, tokens = int(num_steps.max()), int(num_tokens.max())
    scores = torch.stack([blank, label], -1)[:, :steps, : tokens + 1].detach().contiguous()
    targets = torch.ones(len(blank), tokens, dtype=torch.int32, device=blank.device)
    with torch.enable_grad():
        scores.requires_grad_()
        losses = torchaudio.functional.rnnt_loss(
            scores,
            targets,
            num_steps.int(),
            num_tokens.int(),
            blank=0,
            reduction="none",
            fused_log_softmax=False,
        )
        (grad,) = torch.autograd.grad(losses.sum(), scores)
    full = blank.new_zeros(*blank.shape, 2)
    full[:, :steps, : tokens + 1] = grad
    return losses.detach(), full[..., 0], full[..., 1]


def by_scan(blank: Tensor, label: Tensor, *, num_steps: Tensor, num_tokens: Tensor) -> Solution:
    """Do what :func:`solve` does in float64 along diagonals, without waiting for the device.

    All cells of a diagonal (step + place constant) depend on the diagonal before only.
    """
    num_cells = (num_steps, num_tokens)
    blanks, labels = _skewed(blank, label, *num_cells)  # [D, B, P]
    alphas = _forward(blanks, labels)
    betas = _backward(blanks, labels, *num_cells)  # those of the diagonal after
    losses = -torch.logaddexp(
        blanks[0, :, 0] + betas[0, :, 0], labels[0, :, 0] + _next(betas[0])[:, 0]
    )
    blank_grad = -torch.exp(alphas + blanks + betas + losses[:, None])
    label_grad = -torch.exp(alphas + labels + _next(betas) + losses[:, None])
    shape = blank.shape
    return (
        losses.to(blank.dtype),
        _straight(blank_grad, shape).to(blank.dtype),
        _straight(label_grad, shape).to(blank.dtype),
    )


def _skewed(
    blank: Tensor, label: Tensor, num_steps: Tensor, num_tokens: Tensor
) -> tuple[Tensor, Tensor]:
    """Return both scores by diagonal, [D, B, P] float64, -inf in cells that do not exist."""
    batch, steps, places = blank.shape
    place = torch.arange(places, device=blank.device)
    diagonal = torch.arange(steps + places - 1, device=blank.device)
    step = diagonal[:, None] - place  # [D, P]
    index = step.clamp(0, steps - 1).expand(batch, -1, -1)  # [B, D, P]
    exists = (step >= 0) & (step < num_steps[:, None, None])
    skewed = []
    for scores, last in ((blank, num_tokens + 1), (label, num_tokens)):
        values = scores.double().gather(1, index)
        is_there = exists & (place < last[:, None, None])
        skewed.append(values.masked_fill(~is_there, -torch.inf).transpose(0, 1).contiguous())
    return skewed[0], skewed[1]


def _forward(blanks: Tensor, labels: Tensor) -> Tensor:
    """Return log of the probability to reach each cell, [D, B, P]."""
    alpha = torch.full_like(blanks[0], -torch.inf)
    alpha[:, 0] = 0.0
    alphas = [alpha]
    for diagonal in range(len(blanks) - 1):
        moved = torch.nn.functional.pad(
            (alpha + labels[diagonal])[:, :-1], (1, 0), value=-torch.inf
        )
        alpha = torch.logaddexp(alpha + blanks[diagonal], moved)
        alphas.append(alpha)
    return torch.stack(alphas)


def _backward(blanks: Tensor, labels: Tensor, num_steps: Tensor, num_tokens: Tensor) -> Tensor:
    """Return log of the probability to end from each cell of the diagonal after, [D, B, P]."""
    place = torch.arange(blanks.shape[2], device=blanks.device)
    is_last_place = place == num_tokens[:, None]  # [B, P]
    ends = num_steps + num_tokens  # diagonal of the cell behind the last blank
    beta = torch.full_like(blanks[0], -torch.inf)
    betas = []
    for diagonal in reversed(range(len(blanks))):
        is_end = is_last_place & (ends == diagonal + 1)[:, None]
        beta = beta.masked_fill(is_end, 0.0)
        betas.append(beta)
        beta = torch.logaddexp(beta + blanks[diagonal], _next(beta) + labels[diagonal])
    return torch.stack(betas[::-1])


def _next(beta: Tensor) -> Tensor:
    """Return the values one place on; -inf behind the last."""
    return torch.nn.functional.pad(beta[..., 1:], (0, 1), value=-torch.inf)


def _straight(skewed: Tensor, shape: torch.Size) -> Tensor:
    """Return values by diagonal [D, B, P] as values by step [B, E, P]."""
    batch, steps, places = shape
    step = torch.arange(steps, device=skewed.device)[:, None]
    index = step + torch.arange(places, device=skewed.device)  # [E, P]
    return skewed.transpose(0, 1).gather(1, index.expand(batch, -1, -1))
