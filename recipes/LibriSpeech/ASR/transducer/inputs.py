"""What every loss of the joint is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class JointInputs:
    """Both halves of the joint, the tokens, and the joint's last layer; P = U + 1 places.

    Arguments
    ---------
    enc : Tensor
        [B, E, J] the encoder's half.
    pred : Tensor
        [B, P, J] the predictor's half.
    tokens : Tensor
        [B, U] int64.
    num_steps : Tensor
        [B] int64 encoder steps, at least 1.
    num_tokens : Tensor
        [B] int64.
    head : nn.Linear
        J to V, the blank last.
    dropout : float
        Probability that a feature is zero after the ReLU.
    host_rows : int | None
        Upper bound of sum(num_steps * (num_tokens + 1)) that the host knows; None: read from the
        device, which waits for it.
    """

    enc: Tensor
    pred: Tensor
    tokens: Tensor
    num_steps: Tensor
    num_tokens: Tensor
    head: nn.Linear
    dropout: float = 0.0
    host_rows: int | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """B, E, P."""
        return self.enc.shape[0], self.enc.shape[1], self.pred.shape[1]

    @property
    def num_rows(self) -> int:
        """`host_rows`, or what stands for it; on a CPU it is a ValueError if that is too low."""
        bound = self.host_rows
        if bound is not None and self.num_steps.is_cuda:
            return bound
        num_rows = int((self.num_steps * (self.num_tokens + 1)).sum())
        if bound is not None and num_rows > bound:
            raise ValueError(
                f"transducer loss: host_rows is {bound} for {num_rows} rows; expected at least as "
                "many, else cells of the lattice are left out."
            )
        return num_rows if bound is None else bound

    def part(self, first: int, last: int) -> JointInputs:
        """Return what belongs to some of the utterances; their rows are not known to the host."""
        names = ("enc", "pred", "tokens", "num_steps", "num_tokens")
        cut = {name: getattr(self, name)[first:last] for name in names}
        return replace(self, **cut, host_rows=None)

    def mask_seed(self) -> int:
        """Return a seed for dropout masks from this process's stream, on the CPU: no waiting."""
        return int(torch.randint(2**48, ())) if self.dropout else 0


JointLoss = Callable[[JointInputs], Tensor]
"""Returns the negative log-likelihood of each utterance, [B], not divided by any length."""
