"""The packed loss's work on a chunk of rows as Triton kernels: each reads and writes memory once.

One program a row. Under the environment variable TRITON_INTERPRET=1 they run on a CPU, slowly, for
tests. The products stay with cuBLAS: they take most of the time, and it is hard to beat.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from recipes.LibriSpeech.ASR.transducer.kernels import RowKernels
from recipes.LibriSpeech.ASR.transducer.rows import Chunk


@triton.jit
def _hidden_kernel(  # type: ignore[no-untyped-def]  # noqa: PLR0913 - pointers
    enc, pred, enc_rows, pred_rows, out, seed, dropout, scale, size, block: tl.constexpr
):
    row = tl.program_id(0)
    column = tl.arange(0, block)
    is_there = column < size
    enc_row = tl.load(enc_rows + row)
    pred_row = tl.load(pred_rows + row)
    x = tl.load(enc + enc_row * size + column, mask=is_there, other=0.0).to(tl.float32)
    x += tl.load(pred + pred_row * size + column, mask=is_there, other=0.0).to(tl.float32)
    keep = (tl.rand(seed, row * size + column) >= dropout) & (x > 0.0)
    tl.store(out + row * size + column, tl.where(keep, x * scale, 0.0), mask=is_there)


@triton.jit
def _scores_kernel(logits, label, lse, blank_score, label_score, size, block: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: PLR0913 - pointers
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, block)
    z = tl.load(logits + row * size + column, mask=column < size, other=-float("inf"))
    z = z.to(tl.float32)
    top = tl.max(z, axis=0)
    total = top + tl.log(tl.sum(tl.exp(z - top), axis=0))
    of_label = tl.load(label + row)
    at_blank = tl.sum(tl.where(column == size - 1, z, 0.0), axis=0)
    at_label = tl.sum(tl.where(column == of_label, z, 0.0), axis=0)
    tl.store(lse + row, total)
    tl.store(blank_score + row, at_blank - total)
    tl.store(label_score + row, at_label - total)


@triton.jit
def _grads_kernel(logits, lse, blank_grad, label_grad, label, size, block: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: PLR0913 - pointers
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, block)
    is_there = column < size
    z = tl.load(logits + row * size + column, mask=is_there, other=-float("inf")).to(tl.float32)
    of_blank = tl.load(blank_grad + row)
    of_label = tl.load(label_grad + row)
    grad = -(of_blank + of_label) * tl.exp(z - tl.load(lse + row))
    grad += tl.where(column == size - 1, of_blank, 0.0)
    grad += tl.where(column == tl.load(label + row), of_label, 0.0)
    tl.store(logits + row * size + column, grad, mask=is_there)


@triton.jit
def _hidden_grads_kernel(grad, hidden, scale, size, block: tl.constexpr):  # type: ignore[no-untyped-def]
    place = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    is_there = place < size
    x = tl.load(grad + place, mask=is_there, other=0.0)
    is_on = tl.load(hidden + place, mask=is_there, other=0.0) > 0.0
    tl.store(grad + place, tl.where(is_on, x * scale, 0.0), mask=is_there)


class TritonKernels(RowKernels):
    """:class:`RowKernels` with one kernel for each method; its dropout masks are others."""

    def hidden(
        self,
        halves: tuple[Tensor, Tensor],
        chunk: Chunk,
        *,
        dropout: float,
        seed: int,
        out: Tensor,
    ) -> Tensor:
        """Return dropout(relu(enc + pred)); random numbers by counter (Philox)."""
        size = out.shape[1]
        _hidden_kernel[(len(out),)](
            *halves, chunk.enc, chunk.pred, out, seed % 2**31, dropout, 1.0 / (1.0 - dropout),
            size, block=triton.next_power_of_2(size),
        )  # fmt: skip
        return out

    def scores(self, logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return log-sum-exp and both scores."""
        lse, blank, of_label = (torch.empty_like(label, dtype=torch.float32) for _ in range(3))
        size = logits.shape[1]
        _scores_kernel[(len(logits),)](
            logits, label, lse, blank, of_label, size, block=triton.next_power_of_2(size)
        )
        return lse, blank, of_label

    def grads_(
        self, logits: Tensor, lse: Tensor, blank_grad: Tensor, label_grad: Tensor, label: Tensor
    ) -> Tensor:
        """Return the derivative by the logits in their place."""
        size = logits.shape[1]
        _grads_kernel[(len(logits),)](
            logits, lse, blank_grad, label_grad, label, size, block=triton.next_power_of_2(size)
        )
        return logits

    def hidden_grads_(self, grad: Tensor, hidden: Tensor, scale: float) -> Tensor:
        """Return the derivative before ReLU and dropout."""
        block = 1024
        grid = (triton.cdiv(grad.numel(), block),)
        _hidden_grads_kernel[grid](grad, hidden, scale, grad.numel(), block=block)
        return grad
