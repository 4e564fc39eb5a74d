"""Which byte ranges of which shards to read for some rows of the index: few, in offset order."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_GAP_SHARE = 0.04
MAX_GAP_BYTES = 262_144


@dataclass(frozen=True, slots=True)
class ByteRange:
    """One read of one shard.

    Arguments
    ---------
    shard : int
        Its number.
    offset, num_bytes : int, int
        Which bytes.
    places : list[int]
        Those of the rows that lie in it, in offset order.
    """

    shard: int
    offset: int
    num_bytes: int
    places: list[int]


def byte_ranges(rows: NDArray[np.void]) -> list[ByteRange]:
    """Return the reads for some rows, sorted by shard and offset.

    Neighbours are merged. Small gaps are read too, the smallest first, as long as all of them
    stay below `MAX_GAP_SHARE` of the bytes that are needed: one request costs more than a gap.

    Arguments
    ---------
    rows : NDArray[np.void]
        [B] rows of the index, B >= 1.

    Returns
    -------
    list[ByteRange]
        Each row is a place in one of them.
    """
    places = np.lexsort((rows["offset"], rows["shard"]))
    shards, firsts = rows["shard"][places], rows["offset"][places].astype(np.int64)
    num_bytes = rows["num_bytes"][places].astype(np.int64)
    # The end of all before: a row that comes twice lies within the range so far.
    ends = _running_ends(shards, firsts + num_bytes)
    cuts = np.flatnonzero(~_joined(shards, firsts[1:] - ends[:-1], int(num_bytes.sum()))) + 1
    bounds = [0, *cuts.tolist(), len(places)]
    order, firsts_, ends_ = places.tolist(), firsts.tolist(), ends.tolist()
    return [
        ByteRange(int(shards[a]), firsts_[a], ends_[b - 1] - firsts_[a], order[a:b])
        for a, b in zip(bounds, bounds[1:], strict=False)
    ]


def _joined(shards: NDArray[np.uint32], gaps: NDArray[np.int64], needed: int) -> NDArray[np.bool_]:
    """Return [B - 1] whether a row is read together with the one before it."""
    is_near = (shards[1:] == shards[:-1]) & (gaps <= MAX_GAP_BYTES)
    costs = np.where(is_near, np.maximum(gaps, 0), np.iinfo(np.int32).max)
    order = np.argsort(costs, kind="stable")
    is_cheap = np.empty(len(gaps), dtype=bool)
    is_cheap[order] = np.cumsum(costs[order]) <= MAX_GAP_SHARE * needed
    return is_near & is_cheap


def _running_ends(shards: NDArray[np.uint32], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the largest end so far within each shard."""
    base = shards.astype(np.int64) << 40  # No shard is larger than 2 ** 40 bytes.
    return np.maximum.accumulate(base + ends) - base
