"""What the packed loss does to a chunk of rows, in plain PyTorch.

`triton_rows.TritonKernels` has the same methods, each one kernel.
"""

import torch
from torch import Tensor

from recipes.LibriSpeech.ASR.transducer.rows import Chunk


class RowKernels:
    """Elementwise parts of the packed loss; R rows, J features, V classes."""

    def hidden(
        self,
        halves: tuple[Tensor, Tensor],
        chunk: Chunk,
        *,
        dropout: float,
        seed: int,
        out: Tensor,
    ) -> Tensor:
        """Return dropout(relu(enc + pred)), written to `out`.

        Arguments
        ---------
        halves : tuple[Tensor, Tensor]
            [B * E, J] and [B * P, J].
        chunk : Chunk
            Which rows of them.
        dropout : float
            Probability of a zero; the rest is divided by 1 - dropout.
        seed : int
            Of the mask: the same seed gives the same mask.
        out : Tensor
            [R, J].

        Returns
        -------
        Tensor
            `out`.
        """
        enc, pred = halves
        torch.index_select(enc, 0, chunk.enc, out=out)
        out.add_(pred.index_select(0, chunk.pred)).relu_()
        if dropout > 0.0:
            out.mul_(self.mask(out, dropout=dropout, seed=seed)).mul_(1.0 / (1.0 - dropout))
        return out

    def mask(self, like: Tensor, *, dropout: float, seed: int) -> Tensor:
        """Return the mask of a chunk: ones and zeros, of the shape and type of `like`."""
        generator = torch.Generator(like.device).manual_seed(seed)
        return torch.empty_like(like).bernoulli_(1.0 - dropout, generator=generator)

    def scores(self, logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return log-sum-exp, log-probability of the blank, and of the label; each [R]."""
        lse = logits.logsumexp(1)
        return lse, logits[:, -1] - lse, logits.gather(1, label[:, None]).squeeze(1) - lse

    def grads_(
        self, logits: Tensor, lse: Tensor, blank_grad: Tensor, label_grad: Tensor, label: Tensor
    ) -> Tensor:
        """Return the derivative of the loss by the logits [R, V], in their place.

        Arguments
        ---------
        logits : Tensor
            [R, V].
        lse : Tensor
            [R] their log-sum-exp.
        blank_grad : Tensor
            [R] derivative by the blank's score.
        label_grad : Tensor
            [R] derivative by the label's score.
        label : Tensor
            [R] class.

        Returns
        -------
        Tensor
            `logits`.
        """
        logits.sub_(lse[:, None]).exp_().mul_(-(blank_grad + label_grad)[:, None])
        logits[:, -1] += blank_grad
        return logits.scatter_add_(1, label[:, None], label_grad[:, None])

    def hidden_grads_(self, grad: Tensor, hidden: Tensor, scale: float) -> Tensor:
        """Return the derivative before ReLU and dropout, in place of that after them."""
        grad.mul_(hidden > 0)
        return grad if scale == 1.0 else grad.mul_(scale)
