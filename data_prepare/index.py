"""The index of a split: which utterance lies where in which shard.

A prepared split is a folder with `shard-*.tar`, `utterances.npy` (one fixed-size row an
utterance, memory-mapped), `utterances.jsonl` (texts and names, same order) and `index.json`,
which is written last: a folder without it is not finished.
"""

import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TextIO

import numpy as np
import numpy.typing as npt

from data_prepare.files import atomic_path, file_sha256, write_json
from data_prepare.index_format import (
    FORMAT,
    INDEX_NAME,
    ROW_DTYPE,
    ROWS_NAME,
    TEXTS_NAME,
    ShardEntry,
    ShardFault,
    fault_message,
    file_faults,
    index_checksum,
    load_rows,
    read_content,
    row_faults,
    text_line,
)
from data_prepare.storage import RemoteOptions, Storage, open_storage

__all__ = [
    "INDEX_NAME",
    "ROWS_NAME",
    "ROW_DTYPE",
    "TEXTS_NAME",
    "ShardEntry",
    "ShardIndex",
    "ShardPart",
    "index_checksum",
    "write_index",
]


logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ShardIndex:
    """What a reader needs to know of a prepared split.

    Arguments
    ---------
    folder : Path
        Where its index files lie: the split's folder, or a copy if that is elsewhere.
    storage : Storage
        Where its shards lie.
    split : str
        Its name, such as "train".
    rate_hz : int
        Sampling rate of every utterance.
    num_utterances : int
        Utterances in all shards together.
    num_samples : int
        Samples in all shards together.
    categories : list[str]
        Names of the numbers in the column `category`.
    shards : list[ShardEntry]
        In order; their positions are the numbers in the column `shard`. A shard can be empty.
    checksum : str
        SHA-256 over all of the index, which names this content.
    utterances : ndarray
        [num_utterances] of `ROW_DTYPE`, memory-mapped, in shard order.
    bad_shards : dict[int, ShardFault]
        Shards that can not be used, by number; only where the index was loaded so.
    """

    folder: Path
    storage: Storage
    split: str
    rate_hz: int
    num_utterances: int
    num_samples: int
    categories: list[str]
    shards: list[ShardEntry]
    checksum: str
    utterances: npt.NDArray[np.void]
    bad_shards: dict[int, ShardFault] = field(default_factory=dict)

    def texts(self) -> Iterator[dict[str, Any]]:
        """Yield each utterance's id, key, text, speaker, category, language and group."""
        with (self.folder / TEXTS_NAME).open(encoding="utf-8", newline="\n") as lines:
            for line in lines:
                yield json.loads(line)

    def shard_path(self, number: int) -> Path:
        """Return a local path of a shard; downloads it if it lies elsewhere."""
        return self.storage.fetch(self.shards[number].name)

    @classmethod
    def load(
        cls,
        folder: str | Path | Storage,
        *,
        check: Literal["size", "full"] = "size",
        remote: RemoteOptions | None = None,
        tolerant: bool = False,
    ) -> "ShardIndex":
        """Read the index of a split and check that its files fit.

        A split without index.json is not finished: a FileNotFoundError.

        Arguments
        ---------
        folder : str | Path | Storage
            Folder of the split, its address, or its storage.
        check : Literal["size", "full"]
            "size" compares the sizes of all files, "full" their checksums and every row too.
        remote : RemoteOptions | None
            For an address of an object store or web server, see `data_prepare.storage`.
        tolerant : bool
            Shards that are missing or changed go into `bad_shards` and are no error.

        Returns
        -------
        ShardIndex
            The index, its rows memory-mapped.

        Raises
        ------
        ValueError
            If index.json is damaged or files do not fit to it; names all faults at once.
        """
        storage = open_storage(folder, options=remote)
        folder = storage.index_folder()
        content = read_content(folder)
        shards = [ShardEntry(**entry) for entry in content["shards"]]
        storage = storage.with_shards(shards)
        stamps = content["files"] | {s.name: asdict(s) for s in shards}
        file_problems = file_faults(storage, stamps, check=check)
        bad_shards = {
            n: file_problems[s.name] for n, s in enumerate(shards) if s.name in file_problems
        }
        if file_problems and not (tolerant and len(bad_shards) == len(file_problems)):
            faults = [f"{name}: {fault.reason}" for name, fault in file_problems.items()]
            raise ValueError(fault_message(storage, faults))
        rows = load_rows(folder)
        faults = row_faults(rows, content, shards, check=check)
        if faults:
            raise ValueError(fault_message(storage, faults))
        return cls(
            folder=folder,
            storage=storage,
            split=content["split"],
            rate_hz=content["rate_hz"],
            num_utterances=content["num_utterances"],
            num_samples=content["num_samples"],
            categories=content["categories"],
            shards=shards,
            checksum=content["checksum"],
            utterances=rows,
            bad_shards=bad_shards,
        )

    @classmethod
    def load_texts(cls, folder: str | Path | Storage) -> "ShardIndex":
        """Read an index for its texts; bad shards are a warning, for loaders to refuse or count.

        Arguments
        ---------
        folder : str | Path | Storage
            As for `load`.

        Returns
        -------
        ShardIndex
            The index, with its `bad_shards`.
        """
        index = cls.load(folder, tolerant=True)
        if index.bad_shards:
            faults = [f"{index.shards[n].name}: {f.reason}" for n, f in index.bad_shards.items()]
            logger.warning("%s", fault_message(index.storage, faults))
        return index

    def find_key(self, shard: str, offset: int) -> str:
        """Return the key of the utterance at a place in a shard, "" if there is none."""
        first = 0
        for entry in self.shards:
            last = first + entry.num_utterances
            rows = np.flatnonzero(self.utterances["offset"][first:last] == offset)
            if entry.name == shard and len(rows):
                text = next(islice(self.texts(), first + int(rows[0]), None), {})
                return str(text.get("key", ""))
            first = last
        return ""


@dataclass(frozen=True)
class ShardPart:
    """What one finished shard contributes to the index.

    Arguments
    ---------
    entry : ShardEntry
        The shard's line in index.json.
    rows : list
        One (offset, num_bytes, num_samples, category name) an utterance, in shard order.
    texts : list
        One object an utterance for utterances.jsonl, same order.
    """

    entry: ShardEntry
    rows: list[tuple[int, int, int, str]]
    texts: list[dict[str, Any]]


def write_index(
    folder: Path,
    parts: Iterable[ShardPart],
    *,
    split: str,
    rate_hz: int,
    categories: list[str],
    num_utterances: int,
) -> None:
    """Write the three index files of a split, index.json last.

    The parts are used one after the other and may come from a generator: memory holds the rows
    of the split (26 bytes each) and the texts of one shard.

    Arguments
    ---------
    folder : Path
        Folder of the split; its shards lie there already.
    parts : Iterable[ShardPart]
        The shards in order.
    split : str
        Name of the split.
    rate_hz : int
        Sampling rate of the audio.
    categories : list[str]
        All category names that occur.
    num_utterances : int
        Sum over the parts.
    """
    rows = np.zeros(num_utterances, dtype=ROW_DTYPE)
    with (
        atomic_path(folder / TEXTS_NAME) as texts_path,
        texts_path.open("w", encoding="utf-8", newline="\n") as texts,
    ):
        shards = _fill_rows(rows, parts, texts=texts, categories=categories)
    with atomic_path(folder / ROWS_NAME) as path, path.open("wb") as file:
        np.save(file, rows, allow_pickle=False)
    content: dict[str, Any] = {
        "format": FORMAT,
        "split": split,
        "rate_hz": rate_hz,
        "num_utterances": num_utterances,
        "num_samples": int(rows["num_samples"].sum(dtype=np.int64)),
        "categories": categories,
        "shards": [asdict(shard) for shard in shards],
        "files": {name: _file_stamp(folder / name) for name in (ROWS_NAME, TEXTS_NAME)},
    }
    content["checksum"] = index_checksum(content)
    write_json(folder / INDEX_NAME, content)


def _fill_rows(
    rows: npt.NDArray[np.void],
    parts: Iterable[ShardPart],
    *,
    texts: TextIO,
    categories: list[str],
) -> list[ShardEntry]:
    number_of = {name: number for number, name in enumerate(categories)}
    shards: list[ShardEntry] = []
    first = 0
    for part in parts:
        block = rows[first : first + len(part.rows)]
        block["shard"] = len(shards)
        for column, name in enumerate(("offset", "num_bytes", "num_samples")):
            block[name] = [row[column] for row in part.rows]
        block["category"] = [number_of[row[3]] for row in part.rows]
        texts.writelines(map(text_line, part.texts))
        first += len(part.rows)
        shards.append(part.entry)
    if first != len(rows):
        raise RuntimeError(f"index: {first} rows came for {len(rows)} utterances; report this.")
    return shards


def _file_stamp(path: Path) -> dict[str, Any]:
    return {"num_bytes": path.stat().st_size, "sha256": file_sha256(path)}
