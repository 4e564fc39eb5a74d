"""Which batches an epoch holds: items (pass, number) in the order of the plan."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Item(NamedTuple):
    """One batch to train on.

    Arguments
    ---------
    epoch : int
        From 1.
    place : int
        Its place in the epoch, from 0.
    pass_number : int
        Pass over the data, from 0.
    number : int
        Number of the batch in the pass.
    ends_epoch : bool
        Last of the epoch.
    """

    epoch: int
    place: int
    pass_number: int
    number: int
    ends_epoch: bool


class EpochItems:
    """Lists the items of any epoch.

    Arguments
    ---------
    num_batches : Callable[[int], int]
        From a pass to its number of batches.
    batches_per_epoch : int | None
        Length of a nominal epoch: a cut of the endless sequence of passes; None: a pass each.
    part : tuple[int, int]
        (k, n): only places k, k + n, k + 2n, ... (for one of n nodes).
    """

    def __init__(
        self,
        num_batches: Callable[[int], int],
        *,
        batches_per_epoch: int | None = None,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        self._num_batches = num_batches
        self._per_epoch = batches_per_epoch
        self._part = part
        self._ends = [0]

    def of(self, epoch: int) -> list[Item]:
        """Return the items of an epoch."""
        if self._per_epoch is None:
            whole = [(epoch - 1, number) for number in range(self._num_batches(epoch - 1))]
        else:
            first = (epoch - 1) * self._per_epoch
            whole = [self._find(first + place) for place in range(self._per_epoch)]
        own = whole[self._part[0] :: self._part[1]]
        last = len(own) - 1
        return [Item(epoch, place, *pair, place == last) for place, pair in enumerate(own)]

    def _find(self, index: int) -> tuple[int, int]:
        while self._ends[-1] <= index:
            self._ends.append(self._ends[-1] + self._num_batches(len(self._ends) - 1))
        pass_number = len(self._ends) - 2
        while self._ends[pass_number] > index:
            pass_number -= 1
        return pass_number, index - self._ends[pass_number]
