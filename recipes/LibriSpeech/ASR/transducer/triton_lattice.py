"""The transducer's lattice as one Triton kernel: forward and backward variables side by side.

Two programs an utterance, one for each direction. A step of the encoder is one associative scan
over the places: with a_u what arrives from the step before and l_u the score of the label between
two places, alpha_u = log(exp(a_u) + exp(alpha_{u-1} + l_u)) is a linear recurrence in the log
semiring, whose pairs (sum of l, alpha) combine associatively. Nothing is read by the host.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from recipes.LibriSpeech.ASR.transducer.lattice import Solution

NEVER = -1e30
"""Stands for log 0: finite, so that differences of two of them are no NaN."""
_NEVER = tl.constexpr(NEVER)


@triton.jit
def _combine(labels_left, value_left, labels_right, value_right):  # type: ignore[no-untyped-def]
    arriving = value_left + labels_right
    top = tl.maximum(arriving, value_right)
    rest = tl.minimum(arriving, value_right)
    return labels_left + labels_right, top + tl.log(1.0 + tl.exp(rest - top))


@triton.jit
def _lattice_kernel(  # type: ignore[no-untyped-def]  # noqa: PLR0913 - pointers
    blank, label, num_steps, num_tokens, alphas, betas, steps, places, block: tl.constexpr
):
    utterance = tl.program_id(0).to(tl.int64)
    is_backward = tl.program_id(1)
    length = tl.load(num_steps + utterance).to(tl.int32)
    last_place = tl.load(num_tokens + utterance).to(tl.int32)
    lane = tl.arange(0, block)
    is_there = lane <= last_place
    origin = utterance * steps * places
    # Lanes run in the direction of the recurrence: from the last place down, if backward.
    place = tl.where(is_backward == 1, last_place - lane, lane)
    label_place = tl.where(is_backward == 1, place, place - 1)  # of the label that leads to a lane
    has_label = is_there & (lane > 0)
    value = tl.where(lane == 0, 0.0, _NEVER)
    number = 0
    while number < length:
        step = tl.where(is_backward == 1, length - 1 - number, number)
        # Forward, a step is entered by the blank of the one before; backward, by its own.
        blank_step = tl.where(is_backward == 1, step, step - 1)
        is_entered = is_there & (blank_step >= 0)
        offset = origin + blank_step * places + place
        entering = tl.load(blank + offset, mask=is_entered, other=0.0)
        arriving = tl.where(is_there, value + entering, _NEVER)
        offset = origin + step * places + label_place
        between = tl.load(label + offset, mask=has_label, other=0.0)
        _, value = tl.associative_scan((between, arriving), 0, _combine)
        value = tl.where(is_there, value, _NEVER)
        target = origin + step * places + place
        if is_backward == 1:
            tl.store(betas + target, value, mask=is_there)
        else:
            tl.store(alphas + target, value, mask=is_there)
        number += 1


def by_triton(blank: Tensor, label: Tensor, *, num_steps: Tensor, num_tokens: Tensor) -> Solution:
    """Do what :func:`recipes.LibriSpeech.ASR.transducer.lattice.solve` does, in float32.

    Arguments
    ---------
    blank : Tensor
        [B, E, P].
    label : Tensor
        [B, E, P].
    num_steps : Tensor
        [B] int64.
    num_tokens : Tensor
        [B] int64.

    Returns
    -------
    tuple[Tensor, Tensor, Tensor]
        Negative log-likelihoods and both derivatives.
    """
    batch, steps, places = blank.shape
    blank, label = blank.float().contiguous(), label.float().contiguous()
    alphas, betas = torch.full((2, *blank.shape), NEVER, device=blank.device)
    _lattice_kernel[(batch, 2)](
        blank, label, num_steps, num_tokens, alphas, betas, steps, places,
        block=max(2, triton.next_power_of_2(places)),
    )  # fmt: skip
    losses = -betas[:, 0, 0]
    place = torch.arange(places, device=blank.device)
    step = torch.arange(steps, device=blank.device)[:, None]
    last_step, last_place = (n[:, None, None] for n in (num_steps - 1, num_tokens))
    # What comes behind a blank (the next step; 0 behind the last one), and behind a label.
    after_blank = torch.nn.functional.pad(betas[:, 1:], (0, 0, 0, 1), value=NEVER)
    after_blank = after_blank.masked_fill((step == last_step) & (place == last_place), 0.0)
    after_label = torch.nn.functional.pad(betas[:, :, 1:], (0, 1), value=NEVER)
    reached = alphas + losses[:, None, None]
    is_there = (step <= last_step) & (place <= last_place)
    grads = (
        -torch.exp(reached + scores + after).masked_fill(~is_there, 0.0)
        for scores, after in ((blank, after_blank), (label, after_label))
    )
    blank_grad, label_grad = grads
    return losses, blank_grad, label_grad
