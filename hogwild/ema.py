"""An exponential moving average of the shared parameters, kept by the parent."""

from __future__ import annotations

import torch

from hogwild.flat import Flats, cloned


class Ema:
    """Average with a decay per update; every few updates it takes in the parameters as they are.

    Arguments
    ---------
    params : Flats
        First values.
    decay : float
        Per update, within (0, 1).
    every : int
        Updates between two contributions; the decay of so many updates is applied at once.
    updates : int
        Updates applied so far.
    """

    def __init__(self, params: Flats, *, decay: float, every: int, updates: int = 0) -> None:
        self.flats = cloned(params)
        self.decay, self.every, self.updates = decay, every, updates

    @torch.no_grad()
    def note(self, params: Flats, *, updates: int) -> None:
        """Take in the parameters if it is time."""
        passed = updates - self.updates
        if passed < self.every:
            return
        self.updates = updates
        for dtype, average in self.flats.items():
            average.lerp_(params[dtype].to(average.device), 1.0 - self.decay**passed)
