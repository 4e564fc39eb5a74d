"""CTC compression utterance by utterance with a matrix of weights: slow, and plain to read."""

import math
from itertools import groupby

import torch
from torch import Tensor


def compress(
    states: Tensor,
    logits: Tensor,
    lengths: Tensor,
    *,
    strategy: str = "avg",
    max_runs: int | None = None,
    chunk_steps: int = 4,
) -> tuple[Tensor, Tensor]:
    """Return [B, R, D] and [B], as `recipes.MuSTC.ST.conformer.compression` does."""
    with torch.no_grad():
        probs = logits.float().softmax(-1)
        symbols = probs.argmax(-1).tolist()
        groups = [
            grouped(row[:length], strategy, chunk_steps, max_runs)
            for row, length in zip(symbols, lengths.tolist(), strict=True)
        ]
        longest = max(map(len, groups))
        weights = states.new_zeros(len(groups), states.shape[1], longest)
        for number, runs in enumerate(groups):
            first = 0
            for place, (symbol, size) in enumerate(runs):
                steps = slice(first, first + size)
                column = torch.full((size,), 1.0 / size)
                if strategy in ("weighted", "softmax"):
                    column = probs[number, steps, symbol]
                    column = column.softmax(0) if strategy == "softmax" else column / column.sum()
                weights[number, steps, place] = column
                first += size
    mixed = (states.transpose(1, 2) @ weights).transpose(1, 2)
    return mixed, torch.tensor(list(map(len, groups)))


def grouped(
    symbols: list[int], strategy: str, chunk_steps: int, max_runs: int | None
) -> list[tuple[int, int]]:
    """Return (symbol, steps) of each run."""
    if strategy == "fixed":
        starts = range(0, len(symbols), chunk_steps)
        runs = [(0, min(chunk_steps, len(symbols) - start)) for start in starts]
    else:
        runs = [(symbol, len(list(steps))) for symbol, steps in groupby(symbols)]
    if max_runs is None or len(runs) <= max_runs:
        return runs
    width = math.ceil(len(runs) / max_runs)
    merged = []
    for start in range(0, len(runs), width):
        part = runs[start : start + width]
        counts: dict[int, int] = {}
        for symbol, size in part:
            counts[symbol] = counts.get(symbol, 0) + size
        best = min(counts, key=lambda symbol: (-counts[symbol], symbol))
        merged.append((best, sum(size for _, size in part)))
    return merged
