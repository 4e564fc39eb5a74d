"""An exponential moving average of the parameters, by which the model is evaluated.

After every update: average = decay * average + (1 - decay) * parameter.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class ModelAverage(nn.Module):
    """Averages of a model's parameters, in float32, saved with the checkpoint as buffers.

    Arguments
    ---------
    model : nn.Module
        Its parameters are averaged; they may change in place only.
    decay : float
        Within [0, 1).
    foreach : bool
        False: tensor by tensor, the slow way that the fast one is compared with.
    """

    def __init__(self, model: nn.Module, *, decay: float, foreach: bool = True) -> None:
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"ema_decay: is {decay}; expected a number within [0, 1), or null.")
        super().__init__()
        self.decay, self.foreach = decay, foreach
        self._params: list[Tensor] = []
        self._names: list[str] = []
        for name, param in model.named_parameters():
            self._params.append(param)
            self._names.append(name.replace(".", "/"))
            self.register_buffer(self._names[-1], param.detach().clone().float())

    @property
    def averages(self) -> list[Tensor]:
        """The averages, in the order of the parameters."""
        return [self.get_buffer(name) for name in self._names]

    @torch.no_grad()
    def update(self) -> None:
        """Take the parameters in: one kernel for all, unless `foreach` is False."""
        pairs = self.averages, [param.detach() for param in self._params]
        if self.foreach:
            torch._foreach_lerp_(*pairs, 1.0 - self.decay)
            return
        for average, param in zip(*pairs, strict=True):
            average.lerp_(param, 1.0 - self.decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange parameters and averages; the second call puts them back."""
        averages = self.averages
        kept = [param.detach().clone() for param in self._params]
        torch._foreach_copy_([p.detach() for p in self._params], averages)
        torch._foreach_copy_(averages, kept)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the model have the averages inside the block."""
        self.swap()
        try:
            yield
        finally:
            self.swap()
