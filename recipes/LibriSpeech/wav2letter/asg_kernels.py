"""The recursions of `recursions` as Triton kernels: one program for each row and direction.

States stay in registers from frame to frame; nothing is launched within an utterance. A chain's
neighbour is read from the states just written, after a barrier of the program's threads. The same
code runs on a CPU under TRITON_INTERPRET=1, which the tests use.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

NEVER = -1e30
MAX_LENGTH = 8192


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
    scores, stays, moves, states, num_frames, num_rows, length, block: tl.constexpr
):
    row = tl.program_id(0)
    place = tl.arange(0, block)
    is_place = place < length
    never = -1e30
    stay = tl.load(stays + row * length + place, mask=is_place, other=never)
    move = tl.load(moves + row * length + place, mask=is_place, other=never)
    width = length + 1
    given = tl.load(scores + row * length + place, mask=is_place, other=0.0)
    state = tl.where(place == 0, given, never)
    tl.store(states + row * width + 1 + place, state, mask=is_place)
    for t in range(1, num_frames):
        given = tl.load(scores + (t * num_rows + row) * length + place, mask=is_place, other=0.0)
        tl.debug_barrier()
        before = tl.load(
            states + ((t - 1) * num_rows + row) * width + place, mask=is_place, other=never
        )
        stayed = state + stay
        moved = before + move
        top = tl.maximum(stayed, moved)
        state = top + tl.log(1.0 + tl.exp(-tl.abs(stayed - moved))) + given
        tl.store(states + (t * num_rows + row) * width + 1 + place, state, mask=is_place)


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


def chain(scores: Tensor, stays: Tensor, moves: Tensor) -> Tensor:
    """Run `recursions.chain` in one launch.

    Arguments
    ---------
    scores : Tensor
        [T, R, L] float64.
    stays : Tensor
        [R, L] float64.
    moves : Tensor
        [R, L] float64.

    Returns
    -------
    Tensor
        [T, R, L] float64.

    Raises
    ------
    ValueError
        If targets are too long for one program.
    """
    num_frames, num_rows, length = scores.shape
    if length > MAX_LENGTH:
        raise ValueError(
            f"asg: a target has {length} tokens; expected at most {MAX_LENGTH} on a GPU; leave "
            "out such long utterances (max_utterance_s)."
        )
    states = scores.new_full((num_frames, num_rows, length + 1), NEVER)
    block = max(32, triton.next_power_of_2(length))
    _chain_kernel[(num_rows,)](
        scores, stays, moves, states, num_frames, num_rows, length, block=block
    )
    return states[..., 1:]
