"""The losses that the joint may be trained with; all but the pruned one are the same number.

| name | what | memory |
|---|---|---|
| packed | rows that exist, a chunk at a time, computed again in the backward pass | one chunk |
| triton | the same with fused kernels (GPU) | one chunk |
| torchaudio | all logits at once; the reference | 3 x all logits |
| dense | all logits, log-softmax, autograd; to compare | 4 x all logits |
| pruned | ANOTHER LOSS: a band of the lattice, and two more projections | a band |

Each returns the negative log-likelihood of each utterance, not divided by a length. The benchmark's
loss is their mean.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torchaudio
from torch import Tensor, nn

from recipes.LibriSpeech.ASR.transducer.inputs import JointInputs, JointLoss
from recipes.LibriSpeech.ASR.transducer.kernels import RowKernels
from recipes.LibriSpeech.ASR.transducer.lattice import Lattice, solve
from recipes.LibriSpeech.ASR.transducer.packed import PackedOptions, packed_loss
from recipes.LibriSpeech.ASR.transducer.rows import LatticeRows

LOSSES = ("packed", "triton", "torchaudio", "dense", "pruned")
MAX_LOGITS = 2**31
"""torchaudio counts logits in int32, and reads foreign memory from here on (pytorch/audio#3736)."""


def make_loss(name: str, *, chunk_rows: int, joint_size: int, num_classes: int) -> JointLoss:
    """Return a loss by its name.

    Arguments
    ---------
    name : str
        One of `LOSSES`.
    chunk_rows : int
        Rows at a time, >= 1.
    joint_size : int
        J.
    num_classes : int
        V.

    Returns
    -------
    JointLoss
        The pruned one is a module with parameters of its own.

    Raises
    ------
    ValueError
        If there is no such loss, or `chunk_rows` is not positive.
    """
    if name not in LOSSES or chunk_rows < 1:
        raise ValueError(
            f"transducer loss: {name!r} with chunk_rows {chunk_rows}; expected one of "
            f"{', '.join(LOSSES)}, and chunk_rows >= 1."
        )
    if name == "torchaudio":
        return torchaudio_loss
    if name == "dense":
        return dense_loss
    if name == "pruned":
        from recipes.LibriSpeech.ASR.transducer.pruned import PrunedLoss

        return PrunedLoss(joint_size=joint_size, num_classes=num_classes, chunk_rows=chunk_rows)
    if name == "triton":
        from recipes.LibriSpeech.ASR.transducer import triton_lattice, triton_rows

        return PackedLoss(chunk_rows, triton_rows.TritonKernels(), triton_lattice.by_triton)
    return PackedLoss(chunk_rows, RowKernels(), solve)


class PackedLoss:
    """The loss of packed rows; see :mod:`recipes.LibriSpeech.ASR.transducer.packed`.

    Arguments
    ---------
    chunk_rows : int
        Rows at a time.
    kernels : RowKernels
        What is done to a chunk.
    lattice : Lattice
        What is done to the scores.
    """

    def __init__(self, chunk_rows: int, kernels: RowKernels, lattice: Lattice) -> None:
        self.chunk_rows, self.kernels, self.lattice = chunk_rows, kernels, lattice

    def __call__(self, inputs: JointInputs) -> Tensor:
        """Return [B]; see :data:`JointLoss`."""
        rows = LatticeRows(
            inputs.shape, inputs.tokens, inputs.num_steps, inputs.num_tokens, inputs.num_rows
        )
        options = PackedOptions(
            chunk_rows=self.chunk_rows,
            dropout=inputs.dropout,
            seed=inputs.mask_seed(),
            kernels=self.kernels,
            lattice=self.lattice,
        )
        return packed_loss(inputs.enc, inputs.pred, inputs.head, rows=rows, options=options)


def dense_logits(inputs: JointInputs) -> Tensor:
    """Return the logits [B, E, P, V] of all cells, padding too."""
    hidden = torch.relu(inputs.enc[:, :, None] + inputs.pred[:, None])
    return inputs.head(nn.functional.dropout(hidden, inputs.dropout))


def torchaudio_loss(inputs: JointInputs) -> Tensor:
    """Return [B] by torchaudio's loss on all logits, which must fill the longest lengths.

    Too many logits are those of halves of the batch, one after the other.
    """
    steps, num = int(inputs.num_steps.max()), int(inputs.num_tokens.max())
    batch = inputs.shape[0]
    if batch > 1 and batch * steps * (num + 1) * inputs.head.out_features >= MAX_LOGITS:
        middle = batch // 2
        halves = inputs.part(0, middle), inputs.part(middle, batch)
        return torch.cat([torchaudio_loss(half) for half in halves])
    logits = dense_logits(
        replace(inputs, enc=inputs.enc[:, :steps], pred=inputs.pred[:, : num + 1])
    )
    loss: Tensor = torchaudio.functional.rnnt_loss(
        logits.float(),
        inputs.tokens[:, :num].int().contiguous(),
        inputs.num_steps.int(),
        inputs.num_tokens.int(),
        blank=inputs.head.out_features - 1,
        reduction="none",
    )
    return loss


def dense_loss(inputs: JointInputs) -> Tensor:
    """Return [B] by a log-softmax of all logits."""
    logits = dense_logits(inputs)
    logp = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
    following = nn.functional.pad(inputs.tokens, (0, 1))[:, None, :, None]  # [B, 1, P, 1]
    label = logp.gather(3, following.expand(-1, logp.shape[1], -1, -1)).squeeze(3)
    return LatticeLoss.apply(logp[..., -1], label, inputs.num_steps, inputs.num_tokens)


class LatticeLoss(torch.autograd.Function):
    """Negative log-likelihood [B] of scores [B, E, P] of blanks and labels, for autograd."""

    @staticmethod
    def forward(
        ctx: Any, blank: Tensor, label: Tensor, num_steps: Tensor, num_tokens: Tensor
    ) -> Tensor:
        """Solve the lattice."""
        losses, *grads = solve(blank, label, num_steps=num_steps, num_tokens=num_tokens)
        ctx.save_for_backward(*grads)
        return losses

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        """Return the derivatives by both scores."""
        blank, label = (g * grad[:, None, None] for g in ctx.saved_tensors)
        return blank, label, None, None
