"""CTC compression: runs of steps with equal CTC symbols become one vector each.

M. Gaido et al., "CTC-based Compression for Direct Speech Translation", EACL 2021,
https://arxiv.org/abs/2102.01578. For the CTC logits z_t of an utterance of L steps,

    p_t = argmax z_t,   r_0 = 0,   r_t = r_{t-1} + [p_t != p_{t-1}],

and the vectors of a run r are mixed with weights that sum to 1. The blank is a symbol like any
other, so every step falls into a run and no utterance becomes empty. The weights carry no
gradient: the CTC head learns from the CTC loss alone.

Axes: B utterances, T steps, D vector, V symbols, R runs.
"""

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from recipes.common.lengths import padding_mask
from recipes.MuSTC.ST.conformer.best_symbols import BestSymbols, best_symbols, most_common

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
        throughout the utterance, under the symbol with most steps (of equals the one that has
        them first).
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
            best = None
            if self.strategy != "fixed":
                logits = logits.detach().float()  # rounded ones have other maxima
                best = best_symbols(logits, lengths, with_sums=self.is_weighted)
            runs, num_runs = self._find_runs(best, states, lengths)
            fewest, size = torch.stack(num_runs.aminmax()).tolist()
            if fewest < 1:
                raise ValueError(
                    "ctc compression: an utterance has no step; expected at least one; leave out "
                    "utterances that are shorter than the subsampling."
                )
            # Padding goes to a run of its own behind the last one, which is cut off.
            pads = padding_mask(lengths, states)
            runs = runs.masked_fill(pads, size)
            weights = torch.ones(runs.shape, device=runs.device)
            if best is not None and self.is_weighted:
                weights = self._weights(logits, best, runs, size)
            weights = weights.masked_fill(pads, 0.0)
            totals = sum_runs(torch.ones_like(weights)[..., None], weights, runs, size)[..., 0]
            totals = totals.clamp(min=torch.finfo(totals.dtype).tiny)  # 0 where there is no run
            weights = weights / totals.gather(1, runs.clamp(max=size - 1))
        mixed = sum_runs(states.float(), weights, runs, size)
        return Compressed(mixed.to(states.dtype), num_runs)

    @property
    def is_weighted(self) -> bool:
        """Whether the steps of a run have weights of their own."""
        return self.strategy in ("weighted", "softmax")

    def _find_runs(
        self, best: BestSymbols | None, states: Tensor, lengths: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return each step's run [B, T], of no meaning in padding, and the number of runs [B]."""
        if best is None:
            places = torch.arange(states.shape[1], device=states.device)
            runs = (places // self.chunk_steps).expand(states.shape[:2])
        else:
            changes = best.symbols[:, 1:] != best.symbols[:, :-1]
            runs = nn.functional.pad(changes.long().cumsum(1), (1, 0))
        last = (lengths - 1).clamp(min=0)
        num_runs = torch.where(lengths > 0, runs.gather(1, last[:, None])[:, 0] + 1, 0)
        if self.max_runs is None:
            return runs, num_runs
        merged = ((num_runs - 1) // self.max_runs + 1).clamp(min=1)  # runs that become one
        return runs // merged[:, None], (num_runs + merged - 1) // merged

    def _weights(self, logits: Tensor, best: BestSymbols, runs: Tensor, size: int) -> Tensor:
        """Return the weight of each step, [B, T] float32; those of a run have any sum."""
        symbols = best.symbols
        if self.max_runs is not None:
            symbols = most_common(symbols, runs, size)
        scores = logits.gather(-1, symbols[..., None])[..., 0] - best.offsets
        probs = scores.exp() / best.sums
        return probs.exp() if self.strategy == "softmax" else probs  # at most e: no overflow


def sum_runs(values: Tensor, weights: Tensor, runs: Tensor, size: int) -> Tensor:
    """Return the weighted sum over each run; the gradient goes to the values alone.

    Arguments
    ---------
    values : Tensor
        [B, T, D] float32 or float64.
    weights : Tensor
        [B, T] of the same type.
    runs : Tensor
        [B, T] int64, from 0 to size, never falling; the values of run `size` are dropped.
    size : int
        R.

    Returns
    -------
    Tensor
        [B, R, D].
    """
    num = len(runs)
    offsets = torch.arange(num, device=runs.device)[:, None] * (size + 1)
    bags = (runs + offsets).flatten()
    sums: Tensor = _BagSums.apply(values.flatten(0, 1), weights.flatten(), bags, num * (size + 1))
    return sums.view(num, size + 1, -1)[:, :size]


class _BagSums(torch.autograd.Function):
    """Weighted sums of rows in bags, each direction in one pass and in one order on any device.

    Autograd's own way writes the weighted rows and their gradients out, and adds up in the order
    in which the threads of a GPU come.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weights: Tensor, bags: Tensor, num_bags: int) -> Tensor:
        """Return [bags, D] of [N, D]; `weights` and `bags` [N], the latter never falling."""
        ctx.save_for_backward(weights, bags)
        counts = bags.new_zeros(num_bags).index_add(0, bags, torch.ones_like(bags))
        return nn.functional.embedding_bag(
            torch.arange(len(rows), device=rows.device),
            rows,
            counts.cumsum(0) - counts,
            mode="sum",
            per_sample_weights=weights,
        )

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        """Return each row's gradient."""
        weights, bags = ctx.saved_tensors
        return grad.index_select(0, bags).mul_(weights[:, None]), None, None, None
