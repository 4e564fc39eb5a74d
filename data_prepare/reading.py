"""Read utterances out of shards by their rows of the index, and check each against its row.

Only files that the index names are read, by plain names within the split's storage; members are
data, never code. What does not match its row, or does not decode, is a `Fault`, not an exception:
the loader decides whether it may be skipped.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from data_prepare.address import check_name
from data_prepare.index import ShardIndex
from data_prepare.index_format import ShardFault
from data_prepare.shards import decode_pair
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
    num_bytes : int
        Bytes read from the shards.
    counts : StorageCounts
        Of the storage, since the last batch.
    """

    num_samples: list[int]
    metas: list[dict[str, Any]]
    faults: list[Fault]
    num_bytes: int = 0
    counts: StorageCounts = field(default_factory=StorageCounts)


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

    def read(self, rows: NDArray[np.void], *, out: NDArray[np.int16]) -> Utterances:
        """Read and decode the utterances of some rows.

        Arguments
        ---------
        rows : NDArray[np.void]
            [B] rows of the index.
        out : NDArray[np.int16]
            [B, S] int16, S at least the longest of the rows. Utterances take its first places in
            the order of the rows, right-padded with zeros.

        Returns
        -------
        Utterances
            As many as could be read.
        """
        found = Utterances([], [], [])
        for row, pair in zip(rows, self._pairs(rows), strict=True):
            found.num_bytes += len(pair)
            place = out[len(found.metas)]
            try:
                meta = self._decode_or_heal(row, pair, place)
            except _Mismatch as error:
                name, offset = self.names[int(row["shard"])], int(row["offset"])
                found.faults.append(Fault(name, offset, error.key, error.reason, error.kind))
                continue
            found.num_samples.append(int(row["num_samples"]))
            found.metas.append(meta)
        found.counts = self.storage.take_counts()
        return found

    def _pairs(self, rows: NDArray[np.void]) -> list[memoryview]:
        """Return the bytes of each row: neighbours in one read, reads in offset order."""
        pairs = [memoryview(b"")] * len(rows)
        merged = [part for part in _merged(rows) if part[0] not in self.bad_shards]
        for (_, offset, _, places), data in zip(merged, self._read_parts(merged), strict=True):
            view = memoryview(data)
            for place in places:
                start = int(rows[place]["offset"]) - offset
                pairs[place] = view[start : start + int(rows[place]["num_bytes"])]
        return pairs

    def _read_parts(self, parts: list[tuple[int, int, int, Any]]) -> list[bytes]:
        """Return the bytes of each part; a shard that is absent becomes a bad one, b""."""
        reads = [Read(self.names[shard], offset, size) for shard, offset, size, _ in parts]
        try:
            return self.storage.read_many(reads)
        except OSError as error:
            if not _is_absence(error):
                raise
        return [self._read_part(part[0], read) for part, read in zip(parts, reads, strict=True)]

    def _read_part(self, shard: int, read: Read) -> bytes:
        try:
            return b"" if shard in self.bad_shards else self.storage.read_many([read])[0]
        except OSError as error:
            if not _is_absence(error):
                raise
            self.bad_shards[shard] = ShardFault("missing_shard", f"can not be read: {error}")
            return b""

    def _decode_or_heal(
        self, row: np.void, pair: memoryview, place: NDArray[np.int16]
    ) -> dict[str, Any]:
        """Decode an utterance; if it does not fit, once more where that may help."""
        bad = self.bad_shards.get(int(row["shard"]))
        if bad is not None:
            raise _Mismatch("", bad.reason, bad.kind)
        try:
            return self._decode(row, pair, place)
        except _Mismatch:
            name = self.names[int(row["shard"])]
            if not self.storage.heal(name):
                raise
            read = Read(name, int(row["offset"]), int(row["num_bytes"]))
            return self._decode(row, memoryview(self.storage.read_many([read])[0]), place)

    def _decode(self, row: np.void, pair: memoryview, place: NDArray[np.int16]) -> dict[str, Any]:
        """Decode one utterance into `place`; return what its JSON member says."""
        num_samples = int(row["num_samples"])
        if len(pair) < int(row["num_bytes"]):
            raise _Mismatch("", f"the shard ends after {len(pair)} of {row['num_bytes']} bytes")
        try:
            key, flac, meta = decode_pair(pair)
        except (ValueError, RecursionError) as error:
            raise _Mismatch("", str(error)) from error
        category = self.categories[int(row["category"])]
        expected = {"num_samples": num_samples, "rate_hz": self.rate_hz, "category": category}
        reason = _meta_fault(meta, expected)
        if reason:
            raise _Mismatch(key, reason)
        try:
            _decode_flac(flac, place[:num_samples], rate_hz=self.rate_hz)
        except (soundfile.SoundFileError, ValueError) as error:
            raise _Mismatch(key, str(error), "audio") from error
        place[num_samples:] = 0
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
    for name, value in expected.items():
        if meta.get(name) != value:
            return f"{name} is {meta.get(name)!r}, the index says {value!r}"
    return ""


def _merged(rows: NDArray[np.void]) -> Iterator[tuple[int, int, int, NDArray[np.int64]]]:
    """Yield (shard, offset, bytes, places of the rows) of each read."""
    places = np.lexsort((rows["offset"], rows["shard"]))
    shards, offsets = rows["shard"][places], rows["offset"][places].astype(np.int64)
    ends = offsets + rows["num_bytes"][places]
    is_new = (shards[1:] != shards[:-1]) | (offsets[1:] != ends[:-1])
    firsts = np.flatnonzero(np.concatenate([[True], is_new]))
    for first, last in zip(firsts, [*firsts[1:], len(places)], strict=True):
        offset = int(offsets[first])
        yield int(shards[first]), offset, int(ends[last - 1]) - offset, places[first:last]


def _decode_flac(flac: bytes, out: NDArray[np.int16], *, rate_hz: int) -> None:
    if not flac.startswith(b"fLaC"):
        raise ValueError("audio is no FLAC")
    with soundfile.SoundFile(io.BytesIO(flac)) as file:
        found = (file.samplerate, file.channels, file.frames)
        expected = (rate_hz, 1, len(out))
        if found != expected:
            raise ValueError(
                f"audio of {found[0]} Hz, {found[1]} channel(s), {found[2]} samples; "
                f"expected {expected[0]} Hz, 1 channel, {expected[2]} samples"
            )
        num_read = len(file.read(out=out, dtype="int16"))
    if num_read != len(out):
        raise ValueError(f"only {num_read} of {len(out)} samples decode")
