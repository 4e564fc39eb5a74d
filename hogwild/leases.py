"""Who holds which batch: every item is applied exactly once per epoch, whatever dies.

A worker applies its items in the order in which it got them, so one number, how many it has
applied, says of each whether it was.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from hogwild.items import Item


@dataclass
class OpenEpoch:
    """An epoch of which some items are not applied yet."""

    waiting: deque[Item]
    num_left: int
    applied: set[int] = field(default_factory=set)


class Leases:
    """Hands items out, and takes back those of workers that died.

    Arguments
    ---------
    items_of : Callable[[int], list[Item]]
        From an epoch to its items in order.
    num_workers : int
        Workers.
    """

    def __init__(self, items_of: Callable[[int], list[Item]], num_workers: int) -> None:
        self._items_of = items_of
        self._epochs: dict[int, OpenEpoch] = {}
        self._returned: deque[Item] = deque()
        self._held: list[deque[Item]] = [deque() for _ in range(num_workers)]
        self._applied = [0] * num_workers
        self.num_given_out_again = 0

    def open(self, epoch: int) -> None:
        """Let the items of an epoch be handed out; nothing if it is open already."""
        if epoch not in self._epochs:
            items = self._items_of(epoch)
            self._epochs[epoch] = OpenEpoch(deque(items), len(items))

    def is_open(self, epoch: int) -> bool:
        """Whether the epoch was opened and is not closed."""
        return epoch in self._epochs

    def is_complete(self, epoch: int) -> bool:
        """Whether all items of an open epoch were applied."""
        return epoch in self._epochs and self._epochs[epoch].num_left == 0

    def close(self, epoch: int) -> None:
        """Forget a complete epoch."""
        del self._epochs[epoch]

    def num_applied(self, epoch: int) -> int:
        """Return how many items of an open epoch were applied."""
        return len(self._epochs[epoch].applied) if epoch in self._epochs else 0

    def next_item(self) -> Item | None:
        """Return the item that is leased next: returned ones first; None if none waits."""
        waiting = self._first_waiting()
        return waiting[0] if waiting else None

    def lease(self, worker: int) -> Item:
        """Give the next item, which there must be, to a worker."""
        item = self._first_waiting().popleft()
        self._held[worker].append(item)
        return item

    def _first_waiting(self) -> deque[Item]:
        if self._returned:
            return self._returned
        queues = (self._epochs[number].waiting for number in sorted(self._epochs))
        return next((waiting for waiting in queues if waiting), deque())

    def held(self, worker: int) -> int:
        """Return how many items a worker holds."""
        return len(self._held[worker])

    def has_waiting(self, epoch: int) -> bool:
        """Whether items up to an epoch wait for a worker."""
        if any(item.epoch <= epoch for item in self._returned):
            return True
        return any(e.waiting for number, e in self._epochs.items() if number <= epoch)

    def note_applied(self, worker: int, total: int) -> list[Item]:
        """Note how many items a worker has applied since its start; return the new ones."""
        new = [self._held[worker].popleft() for _ in range(total - self._applied[worker])]
        self._applied[worker] = max(total, self._applied[worker])
        for item in new:
            epoch = self._epochs[item.epoch]
            epoch.applied.add(item.place)
            epoch.num_left -= 1
        return new

    def give_back(self, worker: int) -> list[Item]:
        """Take all items from a worker that died; they are handed out again before others."""
        items = list(self._held[worker])
        for item in items:
            insort(self._returned, item)
        self._held[worker].clear()
        self._applied[worker] = 0
        self.num_given_out_again += len(items)
        return items

    # --- checkpoint --------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return which items of the open epochs were applied: plain values, ready for JSON."""
        return {
            "given_out_again": self.num_given_out_again,
            "applied": {
                str(number): as_ranges(epoch.applied) for number, epoch in self._epochs.items()
            },
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state` was taken: what was applied is not handed out again."""
        self.num_given_out_again = int(state["given_out_again"])
        for number, ranges in state["applied"].items():
            applied = {place for first, end in ranges for place in range(first, end)}
            items = self._items_of(int(number))
            left = deque(item for item in items if item.place not in applied)
            self._epochs[int(number)] = OpenEpoch(left, len(left), applied)


def as_ranges(numbers: Iterable[int]) -> list[list[int]]:
    """Return numbers as sorted ranges [first, end)."""
    ranges: list[list[int]] = []
    for number in sorted(numbers):
        if ranges and ranges[-1][1] == number:
            ranges[-1][1] = number + 1
        else:
            ranges.append([number, number + 1])
    return ranges
