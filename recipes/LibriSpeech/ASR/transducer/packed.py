"""The joint and the transducer loss by packed rows, a chunk at a time, exact.

The forward pass computes the logits of a chunk of rows, keeps of each row its log-sum-exp, the
score of the blank and that of the label that may follow, and forgets the logits. The lattice gives
the derivative of the loss by the two scores, g_blank and g_label. The backward pass computes the
logits of a chunk again; with p their softmax,

    d loss / d logits = g_blank (1[blank] - p) + g_label (1[label] - p),

and goes on to the weights and to both halves of the joint. Memory is some numbers a row, and one
chunk of logits, whatever the size of the batch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from recipes.LibriSpeech.ASR.transducer.kernels import RowKernels
from recipes.LibriSpeech.ASR.transducer.lattice import Lattice, solve
from recipes.LibriSpeech.ASR.transducer.rows import Chunk, Rows


@dataclass(frozen=True)
class PackedOptions:
    """How the loss of packed rows is computed.

    Arguments
    ---------
    chunk_rows : int
        Rows of logits at a time.
    dropout : float
        Probability that a joint feature is zero; masks of both passes are the same.
    seed : int
        Of the masks.
    background : float
        Score of cells that have no row: 0 where the lattice never looks, -inf where it may.
    kernels : RowKernels
        What is done to a chunk.
    lattice : Callable
        See :func:`recipes.LibriSpeech.ASR.transducer.lattice.solve`.
    """

    chunk_rows: int = 8192
    dropout: float = 0.0
    seed: int = 0
    background: float = 0.0
    kernels: RowKernels = field(default_factory=RowKernels)
    lattice: Lattice = solve


def packed_loss(
    enc: Tensor, pred: Tensor, head: torch.nn.Linear, *, rows: Rows, options: PackedOptions
) -> Tensor:
    """Return the negative log-likelihood of each utterance, [B], in float32 or float64.

    Arguments
    ---------
    enc : Tensor
        [B, E, J] the encoder's half of the joint.
    pred : Tensor
        [B, P, J] the predictor's half.
    head : torch.nn.Linear
        J to V, the blank last.
    rows : Rows
        Which rows.
    options : PackedOptions
        How.

    Returns
    -------
    Tensor
        [B].
    """
    loss: Tensor = _PackedLoss.apply(enc, pred, head.weight, head.bias, rows, options)
    return loss


class _PackedLoss(torch.autograd.Function):
    """See the module."""

    @staticmethod
    def forward(  # noqa: PLR0913 - autograd passes tensors one by one
        ctx: Any,
        enc: Tensor,
        pred: Tensor,
        weight: Tensor,
        bias: Tensor,
        rows: Rows,
        options: PackedOptions,
    ) -> Tensor:
        with torch.autocast(enc.device.type, enabled=False):
            work = _Work.begin(enc, pred, weight, bias, rows=rows, options=options)
            lse, blank, label = work.scores()
            losses, blank_grad, label_grad = options.lattice(
                blank, label, num_steps=rows.num_steps, num_tokens=rows.num_tokens
            )
        ctx.save_for_backward(enc, pred, weight, bias, lse, blank_grad, label_grad)
        ctx.rows, ctx.options, ctx.dtype = rows, options, work.dtype
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        enc, pred, weight, bias, lse, blank_grad, label_grad = ctx.saved_tensors
        with torch.autocast(enc.device.type, enabled=False):
            work = _Work.begin(
                enc, pred, weight, bias, rows=ctx.rows, options=ctx.options, dtype=ctx.dtype
            )
            scale = grad.to(lse.dtype)[:, None, None]
            grads = work.grads(lse, blank_grad * scale, label_grad * scale)
        kinds = zip(grads, (enc, pred, weight, bias), strict=True)
        return (*(g.to(like.dtype).view_as(like) for g, like in kinds), None, None)


@dataclass
class _Work:
    """One pass over all chunks.

    Arguments
    ---------
    enc, pred : Tensor, Tensor
        [B * E, J] and [B * P, J] in the precision of the products.
    weight, bias : Tensor, Tensor
        [V, J] likewise, [V] in that of the sums.
    rows, options : Rows, PackedOptions
        See `packed_loss`.
    """

    enc: Tensor
    pred: Tensor
    weight: Tensor
    bias: Tensor
    rows: Rows
    options: PackedOptions

    @classmethod
    def begin(
        cls,
        enc: Tensor,
        pred: Tensor,
        weight: Tensor,
        bias: Tensor,
        *,
        rows: Rows,
        options: PackedOptions,
        dtype: torch.dtype | None = None,
    ) -> _Work:
        """Bring the inputs to the precision of the products: that of the encoder's output."""
        dtype = dtype or enc.dtype
        wide = torch.promote_types(dtype, torch.float32)
        return cls(
            enc.detach().reshape(-1, enc.shape[-1]).to(dtype),
            pred.detach().reshape(-1, pred.shape[-1]).to(dtype),
            weight.detach().to(dtype),
            bias.detach().to(wide),
            rows,
            options,
        )

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the products."""
        return self.enc.dtype

    def scores(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return log-sum-exps [rows], and both scores in the lattice [B, E, P]."""
        size = self.rows.shape[0] * self.rows.shape[1] * self.rows.shape[2]
        lse = self.bias.new_empty(self.rows.num_rows)
        # One place more, for rows that are padding.
        blank, label = self.bias.new_full((2, size + 1), self.options.background)
        buffers = _Buffers(self)
        for first, last, chunk in self._chunks():
            hidden = buffers.hidden(chunk, first)
            logits = buffers.logits(hidden)
            lse[first:last], blank_score, label_score = self.options.kernels.scores(
                logits, chunk.label
            )
            blank[chunk.cell] = blank_score
            label[chunk.cell] = torch.where(chunk.has_label, label_score, self.options.background)
        shape = self.rows.shape
        return lse, blank[:-1].view(shape), label[:-1].view(shape)

    def grads(
        self, lse: Tensor, blank_grad: Tensor, label_grad: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the derivatives by enc, pred, weight and bias."""
        blank_grad, label_grad = (
            torch.nn.functional.pad(g.reshape(-1), (0, 1)) for g in (blank_grad, label_grad)
        )
        wide = self.bias.dtype
        sums = [torch.zeros_like(t, dtype=wide) for t in (self.enc, self.pred, self.weight)]
        enc_sum, pred_sum, weight_sum = sums
        bias_sum = torch.zeros_like(self.bias)
        scale = 1.0 / (1.0 - self.options.dropout)
        buffers, kernels = _Buffers(self), self.options.kernels
        for first, last, chunk in self._chunks():
            hidden = buffers.hidden(chunk, first)
            logits = buffers.logits(hidden)
            own = blank_grad[chunk.cell], label_grad[chunk.cell]
            delta = kernels.grads_(logits, lse[first:last], *own, chunk.label)
            bias_sum += delta.sum(0)
            delta = delta.to(self.dtype)
            weight_sum += _product(delta.t(), hidden)
            back = _product(delta, self.weight)
            back = kernels.hidden_grads_(back, hidden, scale)
            enc_sum.index_add_(0, chunk.enc, back)
            pred_sum.index_add_(0, chunk.pred, back)
        return enc_sum, pred_sum, weight_sum, bias_sum

    def _chunks(self) -> Any:
        for first in range(0, self.rows.num_rows, self.options.chunk_rows):
            last = min(first + self.options.chunk_rows, self.rows.num_rows)
            yield first, last, self.rows.chunk(first, last)


class _Buffers:
    """Memory of one chunk's features and logits, used again by each."""

    def __init__(self, work: _Work) -> None:
        size = min(work.options.chunk_rows, work.rows.num_rows)
        self._work = work
        self._hidden = work.enc.new_empty(size, work.enc.shape[1])
        self._logits = work.bias.new_empty(size, len(work.bias))

    def hidden(self, chunk: Chunk, first: int) -> Tensor:
        """Return the joint's features [R, J] after ReLU and dropout."""
        options = self._work.options
        out = self._hidden[: len(chunk.enc)]
        return options.kernels.hidden(
            (self._work.enc, self._work.pred),
            chunk,
            dropout=options.dropout,
            seed=options.seed + first,
            out=out,
        )

    def logits(self, hidden: Tensor) -> Tensor:
        """Return [R, V] in the precision of the sums."""
        work = self._work
        out = self._logits[: len(hidden)]
        if hidden.dtype == out.dtype:
            return torch.addmm(work.bias, hidden, work.weight.t(), out=out)
        return _product(hidden, work.weight.t()).add_(work.bias)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Return a @ b, summed in float32 or better."""
    if a.dtype in (torch.float32, torch.float64):
        return a @ b
    if a.is_cuda:
        return torch.mm(a, b, out_dtype=torch.float32)
    return a.float() @ b.float()
