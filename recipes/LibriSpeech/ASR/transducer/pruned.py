"""Pruned RNN-T: ANOTHER LOSS than the benchmark's, with parameters of its own, for less memory.

F. Kuang et al. 2022, "Pruned RNN-T for fast, memory-efficient ASR training",
https://arxiv.org/abs/2206.13236. A joint that is only a sum (two projections to the classes, no
ReLU) gives the occupation of each cell cheaply; of each encoder step the `width` places with most
of it are kept, and the full joint is computed for these alone. The loss is

    simple_scale * loss of the sum + pruned_scale * loss within the band,

so it bounds the benchmark's loss from above and differs from it. Not for the closed division.

Axes: B utterances, E encoder steps, P = U + 1 places, J joint features, V classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recipes.LibriSpeech.ASR.transducer.inputs import JointInputs
from recipes.LibriSpeech.ASR.transducer.lattice import by_scan
from recipes.LibriSpeech.ASR.transducer.packed import PackedOptions, packed_loss
from recipes.LibriSpeech.ASR.transducer.rows import BandRows


class PrunedLoss(nn.Module):
    """The loss within a band; see the module.

    Arguments
    ---------
    joint_size : int
        J.
    num_classes : int
        V, the blank last.
    chunk_rows : int
        Rows of logits at a time.
    width : int
        Places of each step, the paper's S.
    simple_scale : float
        Weight of the loss of the sum.
    num_warmup : int
        Training batches over which the weight of the band's loss rises from 0.1 to 1 and that of
        the sum falls from 1 to `simple_scale`.
    """

    num_calls: Tensor

    def __init__(
        self,
        *,
        joint_size: int,
        num_classes: int,
        chunk_rows: int,
        width: int = 5,
        simple_scale: float = 0.5,
        num_warmup: int = 2000,
    ) -> None:
        super().__init__()
        self.simple_enc = nn.Linear(joint_size, num_classes)
        self.simple_pred = nn.Linear(joint_size, num_classes)
        self.width, self.chunk_rows = width, chunk_rows
        self.simple_scale, self.num_warmup = simple_scale, num_warmup
        self.register_buffer("num_calls", torch.zeros((), dtype=torch.float32))

    def forward(self, inputs: JointInputs) -> Tensor:
        """Return [B]; in evaluation the loss within the band alone."""
        simple, starts = self._simple(inputs)
        rows = BandRows(
            inputs.shape, inputs.tokens, inputs.num_steps, inputs.num_tokens, starts,
            min(self.width, inputs.shape[2]),
        )  # fmt: skip
        options = PackedOptions(
            chunk_rows=self.chunk_rows,
            dropout=inputs.dropout,
            seed=inputs.mask_seed(),
            background=-torch.inf,
            lattice=by_scan,
        )
        pruned = packed_loss(inputs.enc, inputs.pred, inputs.head, rows=rows, options=options)
        if not self.training:
            return pruned
        share = (self.num_calls / self.num_warmup).clamp(max=1.0)
        self.num_calls += 1
        simple_scale = 1.0 - share * (1.0 - self.simple_scale)
        return simple_scale * simple + (0.1 + 0.9 * share) * pruned

    def _simple(self, inputs: JointInputs) -> tuple[Tensor, Tensor]:
        """Return the loss of the sum [B], and where the band of each step starts [B, E]."""
        wide = torch.promote_types(inputs.enc.dtype, torch.float32)
        # Not in half precision: fp16 loses classes of little mass, bf16 the digits of the sum.
        with torch.autocast(inputs.enc.device.type, enabled=False):
            am, lm = self.simple_enc(inputs.enc.to(wide)), self.simple_pred(inputs.pred.to(wide))
            blank, label = simple_scores(am, lm, inputs.tokens)
        lengths = {"num_steps": inputs.num_steps, "num_tokens": inputs.num_tokens}
        with torch.no_grad():
            losses, *grads = by_scan(blank, label, **lengths)
            starts = band_starts(
                -(grads[0] + grads[1]), **lengths, width=min(self.width, lm.shape[1])
            )
        # The value of the loss with the lattice's derivatives.
        parts = ((blank - blank.detach()) * grads[0], (label - label.detach()) * grads[1])
        return losses + sum(part.sum((1, 2)) for part in parts), starts


def simple_scores(am: Tensor, lm: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Return log-probabilities of blank and label of a joint that is am + lm; never [B, E, P, V].

    Arguments
    ---------
    am : Tensor
        [B, E, V].
    lm : Tensor
        [B, P, V].
    tokens : Tensor
        [B, U].

    Returns
    -------
    tuple[Tensor, Tensor]
        [B, E, P] each.
    """
    am_top, lm_top = (x.detach().amax(2, keepdim=True) for x in (am, lm))
    mass = torch.matmul((am - am_top).exp(), (lm - lm_top).exp().transpose(1, 2))
    total = mass.clamp(min=torch.finfo(mass.dtype).tiny).log() + am_top + lm_top.transpose(1, 2)
    blank = am[..., -1:] + lm[..., -1][:, None] - total
    following = nn.functional.pad(tokens, (0, 1))  # [B, P]
    of_enc = am.gather(2, following[:, None].expand(-1, am.shape[1], -1))
    of_pred = lm.gather(2, following[..., None]).transpose(1, 2)
    return blank, of_enc + of_pred - total


def band_starts(occupation: Tensor, num_steps: Tensor, num_tokens: Tensor, *, width: int) -> Tensor:
    """Return the first place of each step's band [B, E], such that a path runs through the bands.

    The start with most occupation in its band, made to begin at 0, to rise by at most width - 1 a
    step, and to reach the last place at the last step (section 3.2 of the paper).

    Arguments
    ---------
    occupation : Tensor
        [B, E, P], zeros beyond the lengths.
    num_steps : Tensor
        [B].
    num_tokens : Tensor
        [B].
    width : int
        Places of a band, at most P.

    Returns
    -------
    Tensor
        int64.
    """
    sums = nn.functional.pad(occupation.cumsum(2), (1, 0))
    best = (sums[..., width:] - sums[..., :-width]).argmax(2)  # [B, E]
    step = torch.arange(best.shape[1], device=best.device)
    final = (num_tokens + 1 - width).clamp(min=0)[:, None]
    best = torch.minimum(torch.minimum(best, final), (width - 1) * step)
    best = torch.where(step >= num_steps[:, None] - 1, final, best).cummax(1).values
    slack = best - (width - 1) * step
    return slack.flip(1).cummax(1).values.flip(1) + (width - 1) * step
