"""The two recursions of ASG: over all tokens, and along a chain of target places.

On a CPU a loop over frames of a few operations each; on a CUDA device one kernel for each
(`asg_kernels`, Triton), since a loop of small operations would leave the device waiting. Where
Triton is absent the loop runs there too.
"""

from functools import cache
from types import ModuleType

import torch
from speechbrain.utils.logger import get_logger
from torch import Tensor

NEVER = -1e30

logger = get_logger(__name__)


@cache
def kernels() -> ModuleType | None:
    """Return the module of the Triton kernels, None where Triton is absent."""
    try:
        from recipes.LibriSpeech.wav2letter import asg_kernels
    except ImportError:
        logger.warning("asg: Triton is absent; the criterion runs frame by frame, which is slow.")
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
    fast = kernels() if likely.is_cuda else None
    return full_by_frames(likely, moves) if fast is None else fast.full(likely, moves)


def chain(scores: Tensor, stays: Tensor, moves: Tensor) -> Tensor:
    """Run a_t(i) = x_t(i) + logaddexp(a_{t-1}(i) + stay_i, a_{t-1}(i - 1) + move_i).

    Arguments
    ---------
    scores : Tensor
        [T, R, L] float64 emissions at the places, of R rows.
    stays : Tensor
        [R, L].
    moves : Tensor
        [R, L]; the first of a row is not used.

    Returns
    -------
    Tensor
        [T, R, L] float64; -1e30 and below for what cannot be reached.
    """
    fast = kernels() if scores.is_cuda else None
    run = chain_by_frames if fast is None else fast.chain
    return run(scores, stays.contiguous(), moves.contiguous())


def full_by_frames(likely: Tensor, moves: Tensor) -> tuple[Tensor, Tensor]:
    """Run `full` as a loop."""
    states = torch.empty_like(likely)
    sums = likely.new_empty(*likely.shape[:3], 1)
    rows, norms, given = states.unbind(), sums.unbind(), likely.unbind()
    rows[0].copy_(given[0])
    for t, (row, norm) in enumerate(zip(rows, norms, strict=True)):
        if t:
            torch.bmm(rows[t - 1], moves, out=row)
            row.mul_(given[t])
        torch.sum(row, -1, keepdim=True, out=norm)
        row.div_(norm)
    return states, sums[:, 0, :, 0]


def chain_by_frames(scores: Tensor, stays: Tensor, moves: Tensor) -> Tensor:
    """Run `chain` as a loop."""
    num_frames, rows, length = scores.shape
    padded = scores.new_full((num_frames, rows, length + 1), NEVER)  # column 0: before the start
    padded[0, :, 1] = scores[0, :, 0]
    costs = torch.stack([moves, stays])
    # Each state beside the one before it: two views of the same row.
    pairs = padded.as_strided((num_frames, 2, rows, length), (padded.stride(0), 1, length + 1, 1))
    arriving = torch.empty_like(costs)
    moved, stayed = arriving.unbind()
    before, here, given = pairs.unbind(), padded[..., 1:].unbind(), scores.unbind()
    for t in range(1, num_frames):
        torch.add(before[t - 1], costs, out=arriving)
        torch.logaddexp(moved, stayed, out=here[t])
        here[t].add_(given[t])
    return padded[..., 1:]
