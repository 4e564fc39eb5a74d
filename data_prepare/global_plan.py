"""Batches of one size for synchronous training with large batches, as benchmarks define them.

A pass permutes all utterances (within buckets of like length, if there are several), drops at
random what does not fill a last batch, and cuts global batches of exactly `global_batch`
utterances, in random order. Each global batch is one update. How its utterances are shared among
micro-batches and ranks does not change the update, so it is done by length: micro-batches that
run at the same time get equal shares of long and short ones, micro-batches that run one after the
other have utterances of like length.

Legend: N utterances, G global batch, m micro-batch.
"""

import hashlib
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prepare.draws import keyed_percents, text_keys
from data_prepare.index import ShardIndex
from data_prepare.plan import BatchPlan

FORMAT = "stampede-global-batches-1"


@dataclass(frozen=True, kw_only=True)
class GlobalBatchOptions:
    """What shapes the global batches of a pass.

    Arguments
    ---------
    global_batch : int
        G, utterances of an update; >= 1.
    micro_batch : int
        m, utterances of one forward pass; divides G.
    seed : int
        Of the order.
    num_buckets : int
        Parts of the corpus, by length, within which utterances are permuted; 1: a plain shuffle.
    by_length : bool
        Share the utterances of a global batch among micro-batches by length.
    at_once : int
        Micro-batches that run at the same time; divides G / m.
    speed : tuple[float, float], optional
        Bounds of the factor by which the trainer will stretch each utterance: lengths are taken
        after it.
    speed_seed : int
        Of these factors, see `data_prepare.draws`.
    min_utterance_s, max_utterance_s : float, float or None
        Utterances outside are left out and counted.
    shuffle : bool
        Always True.
    """

    global_batch: int
    micro_batch: int
    seed: int = 0
    num_buckets: int = 1
    by_length: bool = True
    at_once: int = 1
    speed: tuple[float, float] | None = None
    speed_seed: int = 0
    min_utterance_s: float = 0.0
    max_utterance_s: float | None = None
    shuffle: bool = True

    def check(self) -> None:
        """Raise a ValueError that names all values out of range."""
        g, m, k = self.global_batch, self.micro_batch, self.at_once
        rules = {
            f"global_batch is {g}, micro_batch {m}; expected the second to divide the first": (
                g >= 1 and m >= 1 and g % m == 0
            ),
            f"at_once is {k}; expected a divisor of the {g / max(m, 1):g} micro-batches of an "
            "update": k >= 1 and m >= 1 and (g // m) % k == 0,
            f"num_buckets is {self.num_buckets}; expected >= 1": self.num_buckets >= 1,
            f"speed is {self.speed}; expected [lowest, highest], both > 0": (
                self.speed is None or 0 < self.speed[0] <= self.speed[1]
            ),
            f"max_utterance_s is {self.max_utterance_s}; expected more than min_utterance_s, "
            f"which is {self.min_utterance_s}": (
                self.max_utterance_s is None or self.max_utterance_s > self.min_utterance_s
            ),
            f"shuffle is {self.shuffle}; expected True": self.shuffle,
        }
        faults = [fault for fault, holds in rules.items() if not holds]
        if faults:
            raise ValueError("global batches: " + "; ".join(faults) + ".")


class GlobalBatchPlanner:
    """Plans any pass over one index; the same on every rank.

    Arguments
    ---------
    index : ShardIndex
        Of the split.
    options : GlobalBatchOptions
        See there.

    Raises
    ------
    ValueError
        If an option is out of range, or there are fewer utterances than G.
    """

    def __init__(self, index: ShardIndex, options: GlobalBatchOptions):
        options.check()
        self.options, self.rate_hz = options, index.rate_hz
        self.index_checksum = index.checksum
        self._lengths = np.ascontiguousarray(index.utterances["num_samples"])
        self._kept, self.left_out = self._filter()
        self._keys = None
        if options.by_length and options.speed is not None:
            self._keys = text_keys(row["id"] for row in index.texts())
        self.num_updates = len(self._kept) // options.global_batch
        self.num_utterances = self.num_updates * options.global_batch
        if not self.num_updates:
            raise ValueError(
                f"global batches of {index.folder}: {len(self._kept)} utterances are left (left "
                f"out: {self.left_out}); expected at least global_batch = {options.global_batch}; "
                "lower it, or widen min_utterance_s and max_utterance_s."
            )
        self.num_samples = int(self._lengths[self._kept].sum(dtype=np.int64))

    def _filter(self) -> tuple[NDArray[np.int64], dict[str, int]]:
        options = self.options
        short = self._lengths < max(1, round(options.min_utterance_s * self.rate_hz))
        long = np.zeros_like(short)
        if options.max_utterance_s is not None:
            long = self._lengths > round(options.max_utterance_s * self.rate_hz)
        left_out = {"too_short": int(short.sum()), "too_long": int(long.sum())}
        return np.flatnonzero(~short & ~long), left_out

    def with_options(self, **changes: Any) -> "GlobalBatchPlanner":
        """Return a planner of the same global batches that shares them otherwise.

        Arguments
        ---------
        **changes : Any
            `micro_batch`, `at_once`.

        Returns
        -------
        GlobalBatchPlanner
            Another one.
        """
        other = copy(self)
        other.options = replace(self.options, **changes)
        other.options.check()
        return other

    def plan(self, pass_number: int = 0) -> BatchPlan:
        """Return the micro-batches of a pass, those of one update next to each other."""
        options = self.options
        rng = self._generator(pass_number)
        order = self._shuffled(rng)
        if options.by_length:
            order = self._shared(order, pass_number)
        starts = np.arange(0, order.size + 1, options.micro_batch, dtype=np.int64)
        rows = order.reshape(-1).astype(np.uint32)
        lengths = self._lengths[rows]
        num_dropped = len(self._kept) - self.num_utterances
        return BatchPlan(
            pass_number=pass_number,
            order=rows,
            starts=starts,
            longest_samples=np.maximum.reduceat(lengths, starts[:-1]).astype(np.int64),
            batch_samples=np.add.reduceat(lengths, starts[:-1], dtype=np.int64),
            rate_hz=self.rate_hz,
            left_out={**self.left_out, "incomplete_batch": num_dropped},
        )

    def _generator(self, pass_number: int) -> np.random.Generator:
        source = f"{FORMAT} {self.index_checksum} {self.options.seed} {pass_number}"
        digest = hashlib.sha256(source.encode()).digest()
        return np.random.Generator(np.random.PCG64(int.from_bytes(digest)))

    def _shuffled(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return [updates, G] rows of the index."""
        by_length = self._kept[np.argsort(self._lengths[self._kept], kind="stable")]
        buckets = np.array_split(by_length, self.options.num_buckets)
        order = np.concatenate([rng.permutation(bucket) for bucket in buckets])
        num_dropped = len(order) - self.num_utterances
        dropped = rng.choice(len(order), size=num_dropped, replace=False)
        batches = np.delete(order, dropped).reshape(-1, self.options.global_batch)
        return batches[rng.permutation(len(batches))]

    def _shared(self, batches: NDArray[np.int64], pass_number: int) -> NDArray[np.int64]:
        """Return the batches with their micro-batches formed by length, longest first in each."""
        options = self.options
        lengths = self._lengths[batches].astype(np.float64)
        if self._keys is not None and options.speed is not None:
            lengths *= keyed_percents(
                self._keys[batches],
                bounds=options.speed,
                seed=options.speed_seed,
                pass_number=pass_number,
            )
        places = np.argsort(-lengths, axis=1, kind="stable")
        ordered = np.take_along_axis(batches, places, axis=1)
        dealt = ordered.reshape(len(batches), -1, options.micro_batch, options.at_once)
        return dealt.transpose(0, 1, 3, 2)
