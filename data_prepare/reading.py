"""Read utterances out of shards by their rows of the index, and check each against its row.

Only files that the index names are read, by plain names within the split's storage; members are
data, never code. What does not match its row, or does not decode, is a `Fault`, not an exception:
the loader decides whether it may be skipped.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prepare.address import check_name
from data_prepare.byte_ranges import ByteRange, byte_ranges
from data_prepare.flac import decode_flac
from data_prepare.index import ShardIndex
from data_prepare.index_format import NOTES, ShardFault
from data_prepare.shards import split_pair
from data_prepare.storage import Read, StorageCounts, StorageError

TEXT_FIELDS = ("id", "text", "speaker", "category", "language", "group")


@dataclass(frozen=True)
class Fault:
    """An utterance that can not be used: where it lies and why.

    `kind` is "missing_shard", "changed_shard", "entry" (what lies there is not what the index
    says) or "audio" (does not decode).
    """

    shard: str
    offset: int
    key: str
    reason: str
    kind: str = "entry"

    def __str__(self) -> str:
        return f"{self.shard}, offset {self.offset}, key {self.key or '(unknown)'}: {self.reason}"


@dataclass
class Utterances:
    """Audio and description of those utterances of a batch that could be read.

    Arguments
    ---------
    num_samples : list[int]
        Length of each.
    metas : list[dict]
        What the JSON members say.
    faults : list[Fault]
        The others.
    bytes_needed : int
        What the rows take in the shards.
    num_bytes : int
        Bytes read for it, see `Fetched`.
    counts : StorageCounts
        Of the storage, since the last batch.
    """

    num_samples: list[int]
    metas: list[dict[str, Any]]
    faults: list[Fault]
    bytes_needed: int = 0
    num_bytes: int = 0
    counts: StorageCounts = field(default_factory=StorageCounts)


class Fetched(NamedTuple):
    """Bytes of some rows.

    Arguments
    ---------
    pairs : list[memoryview]
        Of each row; fewer than it says where its shard ends, none where that can not be used.
    num_bytes : int
        Bytes read, those between the rows included.
    """

    pairs: list[memoryview]
    num_bytes: int


class _Row(NamedTuple):
    """A row of the index as plain numbers, see `data_prepare.index.ROW_DTYPE`."""

    shard: int
    offset: int
    num_bytes: int
    num_samples: int
    category: int


class ShardReader:
    """Reads utterances of one split; small when pickled, opens files where it is used.

    Arguments
    ---------
    index : ShardIndex
        Of the split.

    Raises
    ------
    ValueError
        If a shard's name is not a plain file name.
    """

    def __init__(self, index: ShardIndex):
        self.storage = index.storage
        self.rate_hz = index.rate_hz
        self.categories = list(index.categories)
        self.names = [check_name(shard.name, index.storage) for shard in index.shards]
        self.bad_shards = dict(index.bad_shards)

    def read(
        self, rows: NDArray[np.void], *, out: NDArray[Any], fetched: Fetched | None = None
    ) -> Utterances:
        """Read and decode the utterances of some rows.

        Arguments
        ---------
        rows : NDArray[np.void]
            [B] rows of the index.
        out : NDArray[Any]
            [B, S] int16 or float32, S at least the longest of the rows. Utterances take its first
            places in the order of the rows, right-padded with zeros.
        fetched : Fetched | None
            Their bytes, where these have been read already.

        Returns
        -------
        Utterances
            As many as could be read.
        """
        pairs, num_bytes = fetched if fetched is not None else self.fetch(rows)
        found = Utterances([], [], [], num_bytes=num_bytes)
        for row, pair in zip(map(_Row._make, rows.tolist()), pairs, strict=True):
            found.bytes_needed += row.num_bytes
            place = out[len(found.metas)]
            try:
                meta = self._decode_or_heal(row, pair, place)
            except _Mismatch as error:
                name = self.names[row.shard]
                found.faults.append(Fault(name, row.offset, error.key, error.reason, error.kind))
                continue
            found.num_samples.append(row.num_samples)
            found.metas.append(meta)
        found.counts = self.storage.take_counts()
        return found

    def fetch(self, rows: NDArray[np.void]) -> Fetched:
        """Read the bytes of some rows, in offset order; several threads may call this.

        Arguments
        ---------
        rows : NDArray[np.void]
            [B] rows of the index, in any order.

        Returns
        -------
        Fetched
            In the order of the rows. A shard that is absent gives none and is a bad one from now
            on.
        """
        parts = [part for part in byte_ranges(rows) if part.shard not in self.bad_shards]
        offsets, sizes = rows["offset"].tolist(), rows["num_bytes"].tolist()
        pairs = [memoryview(b"")] * len(rows)
        num_bytes = 0
        for part, data in zip(parts, self._read_parts(parts), strict=True):
            num_bytes += len(data)
            view = memoryview(data)
            for place in part.places:
                start = offsets[place] - part.offset
                pairs[place] = view[start : start + sizes[place]]
        return Fetched(pairs, num_bytes)

    def _read_parts(self, parts: Sequence[ByteRange]) -> list[bytes]:
        """Return the bytes of each part; a shard that is absent becomes a bad one, b""."""
        reads = [Read(self.names[part.shard], part.offset, part.num_bytes) for part in parts]
        try:
            return self.storage.read_many(reads)
        except OSError as error:
            if not _is_absence(error):
                raise
        return [self._read_part(part.shard, read) for part, read in zip(parts, reads, strict=True)]

    def _read_part(self, shard: int, read: Read) -> bytes:
        try:
            return b"" if shard in self.bad_shards else self.storage.read_many([read])[0]
        except OSError as error:
            if not _is_absence(error):
                raise
            self.bad_shards[shard] = ShardFault("missing_shard", f"can not be read: {error}")
            return b""

    def _decode_or_heal(self, row: _Row, pair: memoryview, place: NDArray[Any]) -> dict[str, Any]:
        """Decode an utterance; if it does not fit, once more where that may help."""
        bad = self.bad_shards.get(row.shard)
        if bad is not None and not len(pair):
            raise _Mismatch("", bad.reason, bad.kind)
        try:
            return self._decode(row, pair, place)
        except _Mismatch:
            name = self.names[row.shard]
            if not self.storage.heal(name):
                raise
            read = Read(name, row.offset, row.num_bytes)
            return self._decode(row, memoryview(self.storage.read_many([read])[0]), place)

    def _decode(self, row: _Row, pair: memoryview, place: NDArray[Any]) -> dict[str, Any]:
        """Decode one utterance into `place`; return what its JSON member says."""
        if len(pair) < row.num_bytes:
            raise _Mismatch("", f"the shard ends after {len(pair)} of {row.num_bytes} bytes")
        try:
            key, flac, text = split_pair(pair)
            meta = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise _Mismatch("", str(error)) from error
        category = self.categories[row.category]
        reason = _meta_fault(
            meta, {"num_samples": row.num_samples, "rate_hz": self.rate_hz, "category": category}
        )
        if reason:
            raise _Mismatch(key, reason)
        try:
            decode_flac(flac, place[: row.num_samples], rate_hz=self.rate_hz)
        except ValueError as error:
            raise _Mismatch(key, str(error), "audio") from error
        place[row.num_samples :] = 0
        return meta


class _Mismatch(Exception):  # noqa: N818 - never leaves this module
    def __init__(self, key: str, reason: str, kind: str = "entry"):
        super().__init__(reason)
        self.key = key
        self.reason = reason
        self.kind = kind


def _is_absence(error: OSError) -> bool:
    """Tell whether an error will come again however often one tries."""
    if isinstance(error, StorageError):
        return error.is_lasting
    return isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError)


def _meta_fault(meta: Any, expected: dict[str, Any]) -> str:
    """Return what is wrong with a JSON member, "" if nothing."""
    if not isinstance(meta, dict):
        return f"the JSON member holds a {type(meta).__name__}; expected an object"
    for name in TEXT_FIELDS:
        if not isinstance(meta.get(name), str):
            return f"{name} is {meta.get(name)!r}; expected a text"
    if not isinstance(meta.get(NOTES, {}), dict):
        return f"{NOTES} is {meta[NOTES]!r}; expected an object"
    for name, value in expected.items():
        if meta.get(name) != value:
            return f"{name} is {meta.get(name)!r}, the index says {value!r}"
    return ""
