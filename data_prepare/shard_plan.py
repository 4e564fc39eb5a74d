"""Which utterances go into which shard, as files: making a shard needs nothing else.

The plan's folder holds `utterances.jsonl` (all utterances, one line each), `offsets.npy` (where
each line starts), `<split>.npy` (numbers of lines in shard order) and, written last, `plan.json`
(where each shard starts in that order, and what was left out).
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data_prepare.files import write_json
from data_prepare.scan import ROWS_NAME, ScannedCorpus, decode_row, stable_hash
from data_prepare.utterance import Utterance

PLAN_NAME = "plan.json"
OFFSETS_NAME = "offsets.npy"
_BYTES_PER_SAMPLE = 1.1  # 16-bit FLAC of speech, with its JSON
_SMALL_SHARD_S = 300.0
_PLENTY_OF_SHARDS = 32

Rows = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class ShardPlan:
    """A plan on disk.

    Arguments
    ---------
    folder : Path
        Where it lies.
    content : dict
        What plan.json says.
    """

    folder: Path
    content: dict[str, Any]

    @classmethod
    def load(cls, folder: Path) -> "ShardPlan | None":
        """Open a plan; None if there is no finished one."""
        path = folder / PLAN_NAME
        if not path.is_file():
            return None
        return cls(folder, json.loads(path.read_text(encoding="utf-8")))

    @property
    def root(self) -> Path:
        """Folder that the recordings' paths are relative to."""
        return Path(self.content["root"])

    @property
    def rate_hz(self) -> int:
        """Sampling rate of the prepared audio."""
        return int(self.content["rate_hz"])

    @property
    def splits(self) -> list[str]:
        """Names of the splits."""
        return list(self.content["bounds"])

    def num_shards(self, split: str) -> int:
        """Return the number of shards of a split."""
        return len(self.content["bounds"][split]) - 1

    def utterances(self, split: str, number: int) -> list[Utterance]:
        """Return the utterances of a shard in the order in which they stand in it."""
        first, last = self.content["bounds"][split][number : number + 2]
        rows = np.load(self.folder / f"{split}.npy", mmap_mode="r")[first:last]
        offsets = np.load(self.folder / OFFSETS_NAME, mmap_mode="r")[rows]
        lines: dict[int, bytes] = {}
        with (self.folder / ROWS_NAME).open("rb") as file:
            for offset in sorted(offsets.tolist()):
                file.seek(offset)
                lines[offset] = file.readline()
        return [decode_row(lines[offset]) for offset in offsets.tolist()]


@dataclass(frozen=True)
class ShardRules:
    """How utterances are put in order and cut into shards.

    Arguments
    ---------
    sorting : str
        "random", "ascending" or "descending".
    seed : int
        For the order of groups.
    rate_hz : int
        Sampling rate, for the size of a shard.
    shard_bytes : int
        Size of a shard at most, about.
    num_shards : mapping
        Split to number of shards, where it is given.
    """

    sorting: str
    seed: int
    rate_hz: int
    shard_bytes: int
    num_shards: Mapping[str, int]

    def arrange(
        self, corpus: ScannedCorpus, rows: npt.NDArray[np.int64], split: str
    ) -> tuple[Rows, list[int]]:
        """Put the utterances of a split in shard order.

        Arguments
        ---------
        corpus : ScannedCorpus
            The columns.
        rows : npt.NDArray[np.int64]
            [M] the split's rows, in the order of reading.
        split : str
            Its name.

        Returns
        -------
        tuple[ndarray, list[int]]
            [M] rows in shard order; where each shard starts in it, and its end.
        """
        seconds, hashes = corpus.seconds[rows], corpus.hashes[rows]
        if self.sorting == "random":
            ranks = np.array(
                [stable_hash(self.seed, name) for name in corpus.group_names], dtype=np.uint64
            )
            # Groups in random order, a group's utterances as they come in it: where a shard
            # ends within a call, both shards decode only their part.
            order = np.argsort(ranks[corpus.groups[rows]], kind="stable")
        else:
            sign = 1 if self.sorting == "ascending" else -1
            order = np.lexsort((hashes, sign * seconds))
        bounds = _cut(seconds[order], self._count(split, seconds))
        if self.sorting == "random":
            shards = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
            order = order[np.lexsort((hashes[order], shards))]
        return rows[order].astype(np.uint32), bounds

    def _count(self, split: str, seconds: npt.NDArray[np.float64]) -> int:
        total_s = float(seconds.sum())
        count = self.num_shards.get(split)
        if count is None:
            by_size = math.ceil(total_s * self.rate_hz * _BYTES_PER_SAMPLE / self.shard_bytes)
            for_small = min(_PLENTY_OF_SHARDS, math.ceil(total_s / _SMALL_SHARD_S))
            return max(1, min(len(seconds), max(by_size, for_small)))
        if count > len(seconds):
            raise ValueError(
                f"prepare: {count} shards wanted for the {len(seconds)} utterances of split "
                f"{split!r}; expected at least one utterance a shard; lower num_shards."
            )
        return count


def write_plan(
    folder: Path,
    corpus: ScannedCorpus,
    arranged: Mapping[str, tuple[Rows, list[int]]],
    content: dict[str, Any],
) -> None:
    """Write a plan; the list of utterances lies in its folder already.

    Arguments
    ---------
    folder : Path
        The plan's folder.
    corpus : ScannedCorpus
        The columns.
    arranged : Mapping[str, tuple[Rows, list[int]]]
        Split to what `ShardRules.arrange` returned.
    content : dict[str, Any]
        What else plan.json shall say.
    """
    np.save(folder / OFFSETS_NAME, corpus.offsets)
    for split, (rows, _) in arranged.items():
        np.save(folder / f"{split}.npy", rows)
    bounds = {split: bounds for split, (_, bounds) in arranged.items()}
    write_json(folder / PLAN_NAME, content | {"bounds": bounds})


def _cut(seconds: npt.NDArray[np.float64], count: int) -> list[int]:
    """Return where each of `count` shards of about equal seconds starts; none is empty."""
    ends_s = np.cumsum(seconds)
    wanted_s = ends_s[-1] * np.arange(1, count) / count
    inner = np.searchsorted(ends_s, wanted_s, side="left") + 1
    bounds = [0]
    for shard, bound in enumerate(inner.tolist(), start=1):
        bounds.append(min(max(bound, bounds[-1] + 1), len(seconds) - (count - shard)))
    return [*bounds, len(seconds)]
