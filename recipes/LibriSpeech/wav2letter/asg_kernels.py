"""The recursions of `recursions` as Triton kernels: one program for each row and direction.

States stay in registers from frame to frame; nothing is launched within an utterance. A chain's
neighbour is read from the states just written, after a barrier of the program's threads. The same
code runs on a CPU under TRITON_INTERPRET=1, which the tests use.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

MAX_LENGTH = 8190  # and the two places around the target


@triton.jit
def _full_kernel(  # type: ignore[no-untyped-def]
    likely, moves, states, sums, num_frames, num_rows, num_tokens, block: tl.constexpr
):
    row = tl.program_id(0)
    direction = tl.program_id(1)
    token = tl.arange(0, block)
    is_token = token < num_tokens
    # [to, from]: summed over the last axis
    places = direction * num_tokens * num_tokens + token[None, :] * num_tokens + token[:, None]
    weights = tl.load(moves + places, mask=is_token[:, None] & is_token[None, :], other=0.0)
    step = 2 * num_rows * num_tokens
    start = (direction * num_rows + row) * num_tokens + token
    state = tl.load(likely + start, mask=is_token, other=0.0)
    norm = tl.sum(state, axis=0)
    state = state / norm
    tl.store(states + start, state, mask=is_token)
    tl.store(sums + direction * num_rows + row, norm)
    for t in range(1, num_frames):
        given = tl.load(likely + t * step + start, mask=is_token, other=0.0)
        state = tl.sum(weights * state[None, :], axis=1) * given
        norm = tl.sum(state, axis=0)
        state = state / norm
        tl.store(states + t * step + start, state, mask=is_token)
        tl.store(sums + (t * 2 + direction) * num_rows + row, norm)


@triton.jit
def _chain_kernel(  # type: ignore[no-untyped-def]
    scores, states, num_frames, num_rows, length, block: tl.constexpr
):
    row = tl.program_id(0)
    direction = tl.program_id(1)
    place = tl.arange(0, block)
    is_place = place < length
    beside = place - 1 + 2 * direction
    is_beside = (beside >= 0) & (beside < length)
    start = row * length + direction * (num_frames - 1) * num_rows * length
    step = (1 - 2 * direction) * num_rows * length
    states += direction * num_frames * num_rows * length
    state = tl.load(scores + start + place, mask=is_place, other=-1e30)
    tl.store(states + start + place, state, mask=is_place)
    for t in range(1, num_frames):
        here = start + t * step
        given = tl.load(scores + here + place, mask=is_place, other=0.0)
        tl.debug_barrier()
        moved = tl.load(states + here - step + beside, mask=is_beside, other=-1e30)
        top = tl.maximum(state, moved)
        state = top + tl.log(1.0 + tl.exp(-tl.abs(state - moved))) + given
        tl.store(states + here + place, state, mask=is_place)


def full(likely: Tensor, moves: Tensor) -> tuple[Tensor, Tensor]:
    """Run `recursions.full` in one launch."""
    num_frames, directions, num_rows, num_tokens = likely.shape
    states = torch.empty_like(likely)
    sums = likely.new_empty(num_frames, directions, num_rows)
    block = max(16, triton.next_power_of_2(num_tokens))
    _full_kernel[(num_rows, directions)](
        likely, moves, states, sums, num_frames, num_rows, num_tokens, block=block
    )
    return states, sums[:, 0]


def chain(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Run `recursions.chain` in one launch.

    Arguments
    ---------
    scores : Tensor
        [T, B, P] float64, contiguous.

    Returns
    -------
    tuple[Tensor, Tensor]
        [T, B, P] float64, in time and from the end.

    Raises
    ------
    ValueError
        If targets are too long for one program.
    """
    num_frames, num_rows, length = scores.shape
    if length - 2 > MAX_LENGTH:
        raise ValueError(
            f"asg: a target has {length - 2} tokens; expected at most {MAX_LENGTH} on a GPU; leave "
            "out such long utterances (max_utterance_s)."
        )
    states = scores.new_empty(2, num_frames, num_rows, length)
    block = max(32, triton.next_power_of_2(length))
    _chain_kernel[(num_rows, 2)](scores, states, num_frames, num_rows, length, block=block)
    return states[0], states[1]
