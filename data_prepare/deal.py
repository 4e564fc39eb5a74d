"""Deal the batches of a plan to ranks: equal numbers, nothing dropped, nothing twice.

Round k gives batch k x W + r to rank r of W. What the ranks have used after k rounds is then the
beginning of the plan's order, whatever W is, so a position is one number: utterances done. A job
that goes on with other ranks deals what is left anew.
"""

import heapq
from dataclasses import dataclass

import numpy as np

from data_prepare.plan import BatchPlan, Counts


@dataclass(frozen=True)
class Deal:
    """Rounds of one batch for each rank.

    Arguments
    ---------
    bounds : NDArray
        [R x W + 1] batch n holds `plan.order[bounds[n]:bounds[n + 1]]`; an empty one, at the end
        only, is a padding batch.
    world_size : int
        W, number of ranks.
    """

    bounds: Counts
    world_size: int

    @property
    def num_rounds(self) -> int:
        """R, batches that each rank gets."""
        return (len(self.bounds) - 1) // self.world_size

    def done_after(self, num_rounds: int) -> int:
        """Return the utterances of the plan used up after so many rounds."""
        return int(self.bounds[num_rounds * self.world_size])

    def rounds_done(self, num_utterances: int) -> int:
        """Return after how many rounds so many utterances of the plan are used up.

        Arguments
        ---------
        num_utterances : int
            A value that `done_after` gives.

        Returns
        -------
        int
            The number of rounds.

        Raises
        ------
        ValueError
            If no round ends there.
        """
        ends = self.bounds[:: self.world_size]
        place = int(np.searchsorted(ends, num_utterances))
        if place == len(ends) or ends[place] != num_utterances:
            raise ValueError(
                f"deal: no round of {self.world_size} batches ends at utterance {num_utterances}; "
                "expected the position of a checkpoint of this plan; start the run anew."
            )
        return place

    def batch(self, round_number: int, rank: int) -> tuple[slice, bool]:
        """Return a rank's part of the plan's order, and whether it is a repeat for padding."""
        number = round_number * self.world_size + rank
        first, last = self.bounds[number], self.bounds[number + 1]
        if first < last:
            return slice(int(first), int(last)), False
        before = np.searchsorted(self.bounds, first) - 1
        return slice(int(self.bounds[before]), int(first)), True


def deal(plan: BatchPlan, *, world_size: int, first: int = 0) -> Deal:
    """Deal what is left of a plan.

    The last round is completed by splitting its largest batches; earlier rounds join in where
    these hold too few utterances. Only where all are split to single utterances, ranks get a
    padding batch, at most one each.

    Arguments
    ---------
    plan : BatchPlan
        The pass.
    world_size : int
        Number of ranks; >= 1.
    first : int
        Utterances of the plan's order that are used already; may lie inside a batch.

    Returns
    -------
    Deal
        Covers `plan.order[first:]`.
    """
    bounds = np.concatenate([[first], plan.starts[plan.starts > first]])
    missing = -(len(bounds) - 1) % world_size
    if missing == 0:
        return Deal(bounds, world_size)
    tail = _tail(bounds, missing, world_size)
    cuts = _split(bounds[tail:], missing)
    num_padding = missing - (len(cuts) - len(bounds[tail:]))
    padding = np.full(num_padding, bounds[-1], dtype=np.int64)
    return Deal(np.concatenate([bounds[:tail], cuts, padding]), world_size)


def _tail(bounds: Counts, missing: int, world_size: int) -> int:
    """Return where the last rounds begin that hold enough utterances for `missing` cuts."""
    num_batches = len(bounds) - 1
    length = world_size - missing
    while length < num_batches:
        tail = num_batches - length
        if bounds[-1] - bounds[tail] >= length + missing:
            return tail
        length += max(world_size, length // world_size * world_size)
    return 0


def _split(bounds: Counts, num_cuts: int) -> Counts:
    """Halve the batch with most utterances, `num_cuts` times or until all are single."""
    heap = [
        (-int(last - first), int(first)) for first, last in zip(bounds, bounds[1:], strict=False)
    ]
    heapq.heapify(heap)
    for _ in range(num_cuts):
        size, first = heap[0]
        if size == -1:
            break
        half = -size // 2
        heapq.heapreplace(heap, (size + half, first))
        heapq.heappush(heap, (-half, first - size - half))
    return np.array([*sorted(first for _, first in heap), bounds[-1]], dtype=np.int64)
