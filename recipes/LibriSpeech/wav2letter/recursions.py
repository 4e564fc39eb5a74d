"""The two recursions of ASG: over all tokens, and along a chain of target places.

On a CPU a loop over frames of a few operations each; on a CUDA device one kernel for each
(`asg_kernels`, Triton), since a loop of small operations would leave the device waiting. Where
they do not run the loop does, there too.
"""

from collections.abc import Sequence
from functools import cache
from types import ModuleType

import torch
from speechbrain.utils.logger import get_logger
from torch import Tensor

logger = get_logger(__name__)


@cache
def kernels(device: torch.device) -> ModuleType | None:
    """Return the module of the Triton kernels, None where they do not run on a device."""
    try:
        from recipes.LibriSpeech.wav2letter import asg_kernels

        one = torch.ones(1, 2, 1, 1, dtype=torch.float64, device=device)
        asg_kernels.full(one, one[0])
        asg_kernels.chain(one[0])
    except Exception as error:  # noqa: BLE001 - reason: Triton may be absent, and where a C compiler
        # or Python.h is, its launcher raises errors of many kinds; the loop gives the same numbers.
        logger.warning(
            "asg: the Triton kernels do not run on %s, the criterion runs frame by frame, which is "
            "slow: %s: %s",
            *(device, type(error).__name__, error),
        )
        return None
    return asg_kernels


def full(likely: Tensor, moves: Tensor) -> tuple[Tensor, Tensor]:
    """Run a_t = (a_{t-1} W) * e_t, each a_t divided by its sum.

    Arguments
    ---------
    likely : Tensor
        [T, 2, B, N] float64, e: exp of emissions.
    moves : Tensor
        [2, N from, N to] float64, W of both directions.

    Returns
    -------
    tuple[Tensor, Tensor]
        States [T, 2, B, N] and, of direction 0, the sums [T, B].
    """
    fast = kernels(likely.device) if likely.is_cuda else None
    return full_by_frames(likely, moves) if fast is None else fast.full(likely, moves)


def chain(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Run a_t(i) = x_t(i) + logaddexp(a_{t-1}(i), a_{t-1}(i - 1)), and the same from the end.

    The chain from the end is b_t(i) = x_t(i) + logaddexp(b_{t+1}(i), b_{t+1}(i + 1)). States of the
    frame where a chain begins are its scores.

    Arguments
    ---------
    scores : Tensor
        [T, B, P] float64, x. The first place of a row has -1e30 in all frames but the first, which
        keeps the rows apart.

    Returns
    -------
    tuple[Tensor, Tensor]
        a and b, both [T, B, P] float64; -1e29 and below for what cannot be reached.
    """
    fast = kernels(scores.device) if scores.is_cuda else None
    return chain_by_frames(scores) if fast is None else fast.chain(scores)


def full_by_frames(likely: Tensor, moves: Tensor) -> tuple[Tensor, Tensor]:
    """Run `full` as a loop."""
    states = torch.empty_like(likely)
    sums = likely.new_empty(*likely.shape[:3], 1)
    ones = likely.new_ones(2, likely.shape[3], 1)
    arriving = torch.ones_like(likely[0])
    for state, norm, given in zip(states.unbind(), sums.unbind(), likely.unbind(), strict=True):
        torch.mul(arriving, given, out=state)
        torch.bmm(state, ones, out=norm)  # a sum, but faster
        state.div_(norm)
        torch.bmm(state, moves, out=arriving)
    return states, sums[:, 0, :, 0]


def chain_by_frames(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Run `chain` as two loops; the rows of a frame are one long chain, which their scores part."""
    begun, ended = scores.clone(), scores.clone()
    flat = begun.flatten(1)
    _run_chain(flat[:, 1:].unbind(), flat[:, :-1].unbind())
    flat = ended.flatten(1)
    _run_chain(flat[:, :-1].unbind()[::-1], flat[:, 1:].unbind()[::-1])
    return begun, ended


def _run_chain(states: Sequence[Tensor], beside: Sequence[Tensor]) -> None:
    """Make states of scores, frame after frame, from each place's own state and the one beside."""
    arriving = torch.empty_like(states[0])
    for stayed, moved, state in zip(states, beside, states[1:], strict=False):
        torch.logaddexp(stayed, moved, out=arriving)
        state.add_(arriving)
