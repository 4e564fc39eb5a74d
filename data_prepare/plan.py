"""Plan the batches of one pass over a corpus from its index, before any audio is read.

The order of a pass is a function of (index checksum, options with seed, pass number) and of nothing
else: not of the number of ranks, nor of loader workers. A shuffled pass permutes the shards, takes
windows of `window_shards` of them, sorts the utterances of a window by length (with a random
jitter), cuts batches of bounded padded seconds and shuffles these batches. Reading stays within a
window, so a slow disk sees near-sequential access. Legend: N utterances, M batches.
"""

import hashlib
import math
import zlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prepare.index import ShardIndex
from data_prepare.plan_options import PlanOptions

FORMAT = "stampede-plan-1"

Rows = NDArray[np.uint32]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class BatchPlan:
    """The batches of one pass, in global order.

    Arguments
    ---------
    pass_number : int
        0 for the first pass.
    order : NDArray
        [N] rows of the index; batch m holds `order[starts[m]:starts[m + 1]]`.
    starts : NDArray
        [M + 1] ends with N.
    longest_samples, batch_samples : NDArray, NDArray
        [M] longest utterance and audio of each batch.
    rate_hz : int
        Sampling rate.
    left_out : dict
        Utterances that the filters leave out, by reason.
    """

    pass_number: int
    order: Rows
    starts: Counts
    longest_samples: Counts
    batch_samples: Counts
    rate_hz: int
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def num_batches(self) -> int:
        """M."""
        return len(self.starts) - 1

    @property
    def num_utterances(self) -> int:
        """N."""
        return len(self.order)

    @cached_property
    def checksum(self) -> int:
        """CRC-32 of order and cuts, the same on every machine."""
        order = np.ascontiguousarray(self.order, dtype="<u4").data
        return zlib.crc32(np.ascontiguousarray(self.starts, dtype="<i8").data, zlib.crc32(order))

    def report(self) -> dict[str, Any]:
        """Return counts, seconds and the share of padding: plain numbers, ready for JSON."""
        sizes = np.diff(self.starts)
        padded_samples = sizes * self.longest_samples
        audio_s = int(self.batch_samples.sum()) / self.rate_hz
        padded_s = int(padded_samples.sum()) / self.rate_hz
        return {
            "num_utterances": self.num_utterances,
            "num_batches": self.num_batches,
            "audio_s": audio_s,
            "padding_share": 1 - audio_s / padded_s,
            "mean_batch_s": padded_s / self.num_batches,
            "max_batch_s": int(padded_samples.max()) / self.rate_hz,
            "min_batch_s": int(padded_samples.min()) / self.rate_hz,
            "mean_batch_utterances": self.num_utterances / self.num_batches,
            "max_batch_utterances": int(sizes.max()),
            "left_out": dict(self.left_out),
        }


class Planner:
    """Plans any pass over one index.

    Arguments
    ---------
    index : ShardIndex
        Only lengths, shard sizes, rate and checksum are used.
    options : PlanOptions
        See there.

    Raises
    ------
    ValueError
        If an option is out of range, an utterance is longer than `max_batch_s` (where that is an
        error), or no utterance is left.
    """

    def __init__(self, index: ShardIndex, options: PlanOptions):
        self.index_checksum = index.checksum
        self.options = options
        self.rate_hz = index.rate_hz
        bounds = np.cumsum([0, *(shard.num_utterances for shard in index.shards)])
        first, last = options.shard_range(len(index.shards), where=str(index.folder))
        self._shard_bounds = bounds[first : last + 1]
        # One contiguous column: the index is a memory-mapped table of records.
        self._lengths = np.ascontiguousarray(index.utterances["num_samples"])
        self._keep, self.left_out = self._filter()
        self.num_utterances = int(np.count_nonzero(self._keep))
        self.num_samples = int(self._lengths[self._keep].sum(dtype=np.int64))
        self._check_lengths(index)

    def plan(self, pass_number: int = 0) -> BatchPlan:
        """Return the batches of pass `pass_number`; unshuffled passes are all equal."""
        if not self.options.shuffle:
            windows = [self._sorted_batches()]
        elif self.options.keep_batches:
            rows, sizes = self._sorted_batches()
            places = self._generator(pass_number).permutation(len(sizes))
            windows = [_permute_batches(rows, sizes, places)]
        else:
            windows = self._shuffled_windows(pass_number)
        order = np.concatenate([rows for rows, _ in windows])
        sizes = np.concatenate([sizes for _, sizes in windows])
        starts = _starts(sizes)
        lengths = self._lengths[order]
        return BatchPlan(
            pass_number=pass_number,
            order=order,
            starts=starts,
            longest_samples=np.maximum.reduceat(lengths, starts[:-1]).astype(np.int64),
            batch_samples=np.add.reduceat(lengths, starts[:-1], dtype=np.int64),
            rate_hz=self.rate_hz,
            left_out=self.left_out,
        )

    def _samples(self, seconds: float) -> int:
        return round(seconds * self.rate_hz)

    def _filter(self) -> tuple[NDArray[np.bool_], dict[str, int]]:
        """Return the mask of the rows in use, and the others counted by reason."""
        options = self.options
        lengths = self._lengths
        used = np.zeros(len(lengths), dtype=bool)
        used[self._shard_bounds[0] : self._shard_bounds[-1]] = True
        # An utterance without samples can not be padded or trained on.
        short = lengths < max(1, self._samples(options.min_utterance_s))
        limits_s = [options.max_utterance_s] if options.max_utterance_s is not None else []
        if options.too_long == "skip":
            limits_s.append(options.max_batch_s)
        long = lengths > self._samples(min(limits_s)) if limits_s else np.zeros_like(short)
        left_out = {
            "too_short": int(np.count_nonzero(used & short)),
            "too_long": int(np.count_nonzero(used & long)),
        }
        return used & ~short & ~long, left_out

    def _check_lengths(self, index: ShardIndex) -> None:
        limit = self._samples(self.options.max_batch_s)
        too_long = np.flatnonzero(self._keep & (self._lengths > limit))
        if len(too_long):
            row = int(too_long[0])
            shard = index.shards[int(index.utterances[row]["shard"])].name
            seconds = int(self._lengths[row]) / self.rate_hz
            raise ValueError(
                f"plan of {index.folder}: utterance {row} (in {shard}) lasts {seconds:.2f} s, "
                f"{len(too_long) - 1} more are too long; expected at most max_batch_s = "
                f"{self.options.max_batch_s:g}; raise it, or set too_long to skip."
            )
        if self.num_utterances == 0:
            raise ValueError(
                f"plan of {index.folder}: no utterance is left (left out: {self.left_out}); "
                "expected at least one; widen shards, min_utterance_s or max_utterance_s."
            )

    def _generator(self, pass_number: int) -> np.random.Generator:
        source = f"{FORMAT} {self.index_checksum} {self.options.seed} {pass_number}"
        digest = hashlib.sha256(source.encode()).digest()
        return np.random.Generator(np.random.PCG64(int.from_bytes(digest)))

    def _shuffled_windows(self, pass_number: int) -> list[tuple[Rows, Counts]]:
        """Return rows and batch sizes of each window."""
        rng = self._generator(pass_number)
        shards = rng.permutation(len(self._shard_bounds) - 1)
        num_windows = math.ceil(len(shards) / self.options.window_shards)
        windows = [self._rows(window) for window in np.array_split(shards, num_windows)]
        return [self._shuffled_batches(rows, rng) for rows in windows if len(rows)]

    def _rows(self, shards: NDArray[np.int64]) -> Rows:
        bounds = self._shard_bounds
        rows = np.concatenate(
            [np.arange(bounds[s], bounds[s + 1], dtype=np.uint32) for s in shards]
        )
        return rows[self._keep[rows]]

    def _shuffled_batches(self, rows: Rows, rng: np.random.Generator) -> tuple[Rows, Counts]:
        noise = rng.random(len(rows))
        # The added noise (below one sample) orders utterances of equal length at random.
        keys = self._lengths[rows] * (1 + self.options.jitter * (2 * noise - 1)) + noise
        rows = rows[np.argsort(-keys, kind="stable")]
        sizes = self._cut(self._lengths[rows])
        groups = np.arange(len(sizes)) // self.options.group_batches
        # Less than a group comes last, else the ranks' rounds would cut all groups after it.
        num_whole = len(sizes) // self.options.group_batches
        places = np.append(rng.permutation(num_whole), num_whole)[groups]
        return _permute_batches(rows, sizes, np.argsort(places, kind="stable"))

    def _sorted_batches(self) -> tuple[Rows, Counts]:
        rows = np.flatnonzero(self._keep).astype(np.uint32)
        rows = rows[np.argsort(-self._lengths[rows].astype(np.int64), kind="stable")]
        sizes = self._cut(self._lengths[rows])
        if self.options.order == "ascending":
            return rows[::-1], sizes[::-1]
        return rows, sizes

    def _cut(self, lengths: NDArray[Any]) -> Counts:
        """Return the sizes of the batches of utterances whose lengths about descend.

        The longest of all that follow stands for the longest of the batch: exact where lengths
        descend, at most the jitter too high elsewhere, so the bound always holds.
        """
        limit = self._samples(self.options.max_batch_s)
        longest = np.maximum.accumulate(lengths[::-1])[::-1].astype(np.int64)
        counts = limit // longest
        if self.options.max_utterances is not None:
            counts = np.minimum(counts, self.options.max_utterances)
        counts = np.minimum(counts, np.arange(len(counts), 0, -1))
        rest = counts % self.options.multiple
        counts = np.where(counts > rest, counts - rest, counts)
        following = np.minimum(np.arange(len(lengths)) + counts, len(lengths)).tolist()
        starts = [0]
        while starts[-1] < len(lengths):
            starts.append(following[starts[-1]])
        return np.diff(starts)


def _starts(sizes: Counts) -> Counts:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def _permute_batches(rows: Rows, sizes: Counts, places: Counts) -> tuple[Rows, Counts]:
    """Return rows and sizes with batch `places[m]` at place m."""
    new_sizes = sizes[places]
    shift = _starts(sizes)[places] - _starts(new_sizes)[:-1]
    return rows[np.repeat(shift, new_sizes) + np.arange(len(rows))], new_sizes
