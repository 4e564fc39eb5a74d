"""The best CTC symbol of each step, and what its probability is computed of.

Axes: B utterances, T steps, V symbols, R runs.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

CACHED_LOGITS = 1 << 17  # so many float32 stay in the cache of a processor while they are read
SAFE_LOGIT = 60.0  # best logits up to it, of either sign: float32 holds the sum of exponentials


class BestSymbols(NamedTuple):
    """The best symbol of each step.

    Arguments
    ---------
    symbols : Tensor
        [B, T] int64, the first of equals; in padding of no meaning.
    offsets : Tensor
        [B, T] float32, what is taken off a step's logits before their exponential.
    sums : Tensor
        [B, T] float32, sum of these over symbols: symbol v has probability exp(z_v - offset) / sum.
    """

    symbols: Tensor
    offsets: Tensor
    sums: Tensor


def best_symbols(logits: Tensor, lengths: Tensor, *, with_sums: bool) -> BestSymbols:
    """Return the best symbol of each step.

    Arguments
    ---------
    logits : Tensor
        [B, T, V] float32 without a gradient.
    lengths : Tensor
        [B] int64 steps.
    with_sums : bool
        Whether probabilities are wanted; if not, `offsets` and `sums` are of no meaning.

    Returns
    -------
    BestSymbols
        Symbols and what their probabilities are computed of.
    """
    shape = logits.shape[:2]
    symbols = torch.zeros(shape, dtype=torch.int64, device=logits.device)
    offsets, sums = logits.new_zeros(shape), logits.new_ones(shape)
    for part in _parts(logits, lengths):
        steps = logits[part]
        symbols[part] = chosen = _first_maxima(steps)
        if with_sums:
            top = steps.gather(-1, chosen[..., None])
            if logits.device.type == "cpu" and bool(top.abs().max() < SAFE_LOGIT):
                sums[part] = steps.exp().sum(-1)  # the offset, 0, needs no pass of its own
            else:
                offsets[part] = top[..., 0]
                sums[part] = (steps - top).exp_().sum(-1)
    return BestSymbols(symbols, offsets, sums)


def _first_maxima(steps: Tensor) -> Tensor:
    """Return the first best symbol of each step; NumPy is twice as fast, on one thread."""
    if steps.device.type != "cpu" or torch.get_num_threads() > 2:
        return steps.max(-1).indices
    return torch.from_numpy(steps.numpy().argmax(-1))


def _parts(logits: Tensor, lengths: Tensor) -> Iterator[Any]:
    """Yield indexes of logits: on a CPU of a few steps each and of no padding, else of all."""
    if logits.device.type != "cpu":
        yield slice(None)
        return
    # Several threads wait for each other at the end of every operation: for them, long parts.
    is_alone = torch.get_num_threads() == 1
    num_steps = max(1, CACHED_LOGITS // logits.shape[-1]) if is_alone else logits.shape[1]
    for row, length in enumerate(lengths.tolist()):
        for first in range(0, length, num_steps):
            yield row, slice(first, min(first + num_steps, length))


def most_common(symbols: Tensor, runs: Tensor, size: int) -> Tensor:
    """Return, for each step, the symbol that has most steps in its run.

    Arguments
    ---------
    symbols : Tensor
        [B, T] int64.
    runs : Tensor
        [B, T] int64, from 0 to size.
    size : int
        R.

    Returns
    -------
    Tensor
        [B, T] int64; of equals, the symbol that has that many steps first.
    """
    num_steps = symbols.shape[1]
    is_same = (runs[:, :, None] == runs[:, None]) & (symbols[:, :, None] == symbols[:, None])
    counts = is_same.tril().sum(-1)  # [B, T] of the step's symbol in its run, up to the step
    # Most steps first, then the earlier place; as one number for each step.
    places = torch.arange(num_steps, device=symbols.device)
    ranks = counts * num_steps + (num_steps - 1 - places)
    best = ranks.new_zeros(len(ranks), size + 1).scatter_reduce(1, runs, ranks, "amax")
    chosen = num_steps - 1 - best % num_steps  # [B, R + 1] place of each run's symbol
    return symbols.gather(1, chosen.gather(1, runs))
