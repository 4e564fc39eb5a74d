"""CTC compression: runs of steps with equal CTC symbols become one vector each.

M. Gaido et al., "CTC-based Compression for Direct Speech Translation", EACL 2021,
https://arxiv.org/abs/2102.01578. For the CTC logits z_t of an utterance of L steps,

    p_t = argmax z_t,   r_0 = 0,   r_t = r_{t-1} + [p_t != p_{t-1}],

and the vectors of a run r are mixed with weights that sum to 1. The blank is a symbol like any
other, so every step falls into a run and no utterance becomes empty. The weights carry no
gradient: the CTC head learns from the CTC loss alone.

Axes: B utterances, T steps, D vector, V symbols, R runs.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from recipes.common.lengths import padding_mask

_CPU_ROWS = 64

Strategy = Literal["avg", "weighted", "softmax", "fixed"]


class Compressed(NamedTuple):
    """Compressed sequences.

    Arguments
    ---------
    states : Tensor
        [B, R, D], zeros beyond each utterance's runs; in the type of the input.
    lengths : Tensor
        [B] int64 runs.
    """

    states: Tensor
    lengths: Tensor


class CTCCompression(nn.Module):
    """Compresses sequences by their CTC symbols; see the module.

    Arguments
    ---------
    strategy : Strategy
        ``avg``: the mean of a run. ``weighted``: by the probability of the run's symbol at each
        step. ``softmax``: by the softmax of these over the run. ``fixed``: the mean of every
        `chunk_steps` steps, whatever the symbols.
    max_runs : int | None
        At most so many runs: where there are more, as many neighbours as needed are merged
        throughout the utterance, under the symbol with most steps.
    chunk_steps : int
        For ``fixed``.
    """

    def __init__(
        self, *, strategy: Strategy = "avg", max_runs: int | None = None, chunk_steps: int = 4
    ) -> None:
        super().__init__()
        faults = []
        if strategy not in ("avg", "weighted", "softmax", "fixed"):
            faults.append(f"strategy is {strategy!r}; expected avg, weighted, softmax or fixed")
        if max_runs is not None and max_runs < 1:
            faults.append(f"max_runs is {max_runs}; expected >= 1 or null")
        if chunk_steps < 1:
            faults.append(f"chunk_steps is {chunk_steps}; expected >= 1")
        if faults:
            raise ValueError("ctc compression: " + "; ".join(faults) + ".")
        self.strategy, self.max_runs, self.chunk_steps = strategy, max_runs, chunk_steps

    def forward(self, states: Tensor, logits: Tensor, lengths: Tensor) -> Compressed:
        """Compress sequences.

        Arguments
        ---------
        states : Tensor
            [B, T, D] float.
        logits : Tensor
            [B, T, V] of the CTC head; only read.
        lengths : Tensor
            [B] int64 steps, each >= 1.

        Returns
        -------
        Compressed
            The runs.

        Raises
        ------
        ValueError
            If an utterance has no step.
        """
        with torch.no_grad():
            logits = logits.detach().float()  # rounded ones have other maxima
            symbols = logits.max(-1).indices  # the first of equals; faster than argmax on a CPU
            runs, num_runs, symbols = self.find_runs(symbols, lengths)
            fewest, size = torch.stack(num_runs.aminmax()).tolist()
            if fewest < 1:
                raise ValueError(
                    "ctc compression: an utterance has no step; expected at least one; leave out "
                    "utterances that are shorter than the subsampling."
                )
            # Padding goes to a run of its own behind the last one, which is cut off.
            runs = runs.masked_fill(padding_mask(lengths, states), size)
            weights = self._weights(logits, symbols, runs, size)
        mixed = sum_runs(states.float() * weights[..., None], runs, size)
        return Compressed(mixed.to(states.dtype), num_runs)

    def find_runs(self, symbols: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return each step's run, each utterance's number of runs, and each step's run's symbol.

        Arguments
        ---------
        symbols : Tensor
            [B, T] int64, best symbol of each step.
        lengths : Tensor
            [B] int64 steps.

        Returns
        -------
        tuple[Tensor, Tensor, Tensor]
            [B, T] int64, of no meaning beyond an utterance; [B] int64; [B, T] int64.
        """
        if self.strategy == "fixed":
            places = torch.arange(symbols.shape[1], device=symbols.device)
            runs = torch.div(places, self.chunk_steps, rounding_mode="floor").expand_as(symbols)
        else:
            changes = symbols[:, 1:] != symbols[:, :-1]
            runs = nn.functional.pad(changes.long().cumsum(1), (1, 0))
        last = (lengths - 1).clamp(min=0)
        num_runs = torch.where(lengths > 0, runs.gather(1, last[:, None])[:, 0] + 1, 0)
        if self.max_runs is not None:
            factor = torch.div(num_runs - 1, self.max_runs, rounding_mode="floor") + 1
            factor = factor.clamp(min=1)
            runs = torch.div(runs, factor[:, None], rounding_mode="floor")
            num_runs = torch.div(num_runs + factor - 1, factor, rounding_mode="floor")
            if self.strategy in ("weighted", "softmax") and int(factor.max()) > 1:
                symbols = most_common(symbols, runs, lengths)
        return runs, num_runs, symbols

    def _weights(self, logits: Tensor, symbols: Tensor, runs: Tensor, size: int) -> Tensor:
        """Return the weight of each step in its run, [B, T] float32."""
        if self.strategy in ("avg", "fixed"):
            weights = torch.ones(runs.shape, device=runs.device)
        else:
            best = logits.gather(-1, symbols[..., None])[..., 0]
            weights = (best - log_sums(logits)).exp()  # probability of the run's symbol
            if self.strategy == "softmax":
                weights = weights.exp()  # of at most e: no maximum needs to be subtracted
        totals = sum_runs(weights[..., None], runs, size + 1)[..., 0]  # [B, R + 1]
        return weights / totals.gather(1, runs)


def sum_runs(values: Tensor, runs: Tensor, size: int) -> Tensor:
    """Return the sum over each run.

    Arguments
    ---------
    values : Tensor
        [B, T, D].
    runs : Tensor
        [B, T] int64, from 0 to size; the values of run `size` are dropped.
    size : int
        R.

    Returns
    -------
    Tensor
        [B, R, D].
    """
    num, _, width = values.shape
    offsets = torch.arange(num, device=runs.device)[:, None] * (size + 1)
    sums = values.new_zeros(num * (size + 1), width)
    sums = sums.index_add(0, (runs + offsets).flatten(), values.flatten(0, 1))
    return sums.view(num, size + 1, width)[:, :size]


def log_sums(logits: Tensor) -> Tensor:
    """Return the log of the sum of exponentials over symbols, [B, T] of [B, T, V].

    On a CPU a few rows at a time, which stay in its cache: a third of the time of one call.
    """
    rows = logits.flatten(0, 1)
    size = _CPU_ROWS if logits.device.type == "cpu" else max(1, len(rows))
    return torch.cat([part.logsumexp(-1) for part in rows.split(size)]).view(logits.shape[:2])


def most_common(symbols: Tensor, runs: Tensor, lengths: Tensor) -> Tensor:
    """Return, for each step, the symbol that has most steps in its run; the smallest of equals.

    Arguments
    ---------
    symbols : Tensor
        [B, T] int64.
    runs : Tensor
        [B, T] int64.
    lengths : Tensor
        [B] int64 steps; padding does not count.

    Returns
    -------
    Tensor
        [B, T] int64.
    """
    pads = padding_mask(lengths, symbols)
    same_run = (runs[:, :, None] == runs[:, None, :]) & ~pads[:, None, :]  # [B, T, T]
    counts = (same_run & (symbols[:, :, None] == symbols[:, None, :])).sum(-1)  # [B, T]
    # Most steps first, then the smaller symbol; as one number for each step of the run.
    ranks = counts * (int(symbols.max()) + 1) - symbols
    best = ranks[:, None, :].masked_fill(~same_run, torch.iinfo(ranks.dtype).min).argmax(-1)
    return symbols.gather(1, best)
