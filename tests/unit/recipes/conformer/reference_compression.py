"""CTC compression as FBK publishes it: utterance by utterance, run by run, a matrix of weights.

Probabilities of all steps; for each utterance its best symbols, as a list; for each run a column;
one product of the states with all columns. Slow, and plain to read. Written anew after
https://github.com/hlt-mt/FBK-fairseq (examples/speech_to_text/modules/ctc_support.py).
"""

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
        groups = [
            grouped(row[:length].argmax(-1).tolist(), strategy, chunk_steps, max_runs)
            for row, length in zip(probs, lengths.tolist(), strict=True)
        ]
        longest = max(map(len, groups))
        weights = states.new_zeros(len(groups), states.shape[1], longest)
        for number, runs in enumerate(groups):
            first = 0
            for place, (symbol, size) in enumerate(runs):
                steps = slice(first, first + size)
                if strategy in ("weighted", "softmax"):
                    column = probs[number, steps, symbol]
                    column = column.softmax(0) if strategy == "softmax" else column / column.sum()
                    weights[number, steps, place] = column
                else:
                    weights[number, steps, place] = 1.0 / size
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
        best, most = 0, 0
        for symbol, size in part:
            counts[symbol] = counts.get(symbol, 0) + size
            if counts[symbol] > most:
                best, most = symbol, counts[symbol]
        merged.append((best, sum(size for _, size in part)))
    return merged
