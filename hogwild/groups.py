"""Which of a worker's items are applied together, as the parent foresees it from what it tells."""

from __future__ import annotations

from collections import deque

from hogwild.items import Item


class Groups:
    """The groups of the items that a worker holds; an update applies one group.

    A group is complete when it has `size` items, with the last item of an epoch, before an item of
    a later epoch than the worker has seen, or when it is told to flush. The worker does the same,
    so the number of groups is the number of updates to come: a limit in updates can be kept to
    exactly, and an incomplete group is never left to wait for items that do not come.

    Arguments
    ---------
    size : int
        Items of a full group: the Brain's accumulation factor.
    """

    def __init__(self, size: int = 1) -> None:
        self.size = size
        self._sizes: deque[int] = deque()
        self._epoch = 0  # the latest that the worker has seen
        self._is_open = False
        self._num_applied = 0

    def __len__(self) -> int:
        return len(self._sizes)

    @property
    def open_epoch(self) -> int | None:
        """Epoch whose items may still join the last group; None if all groups are complete."""
        return self._epoch if self._is_open else None

    def would_begin(self, item: Item) -> bool:
        """Whether the item would begin a group of its own."""
        return not self._is_open or item.epoch > self._epoch

    def add(self, item: Item) -> None:
        """Note that the worker was given an item."""
        if self.would_begin(item):
            self._sizes.append(0)
            self._is_open = True
        self._epoch = max(self._epoch, item.epoch)
        self._sizes[-1] += 1
        if self._sizes[-1] >= self.size or item.ends_epoch:
            self.close()

    def close(self) -> None:
        """Note that the worker was told to apply what it has."""
        self._is_open = False

    def note_applied(self, total: int) -> None:
        """Note how many items the worker has applied since its start."""
        while self._num_applied < total:
            self._num_applied += self._sizes.popleft()
