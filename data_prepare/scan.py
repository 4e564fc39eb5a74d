"""Read a whole corpus's transcripts into a plain list on disk and a few columns in memory.

The list (texts and names) has one JSON line an utterance. Memory holds 37 bytes an utterance,
so that the nine million of BizSpeech take a third of a gibibyte.
"""

import functools
import hashlib
import json
from array import array
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import asdict, dataclass, field, fields
from operator import attrgetter
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from data_prepare.filters import Filters, Rejection, RejectionCounts
from data_prepare.pool import ordered_map
from data_prepare.selection import Selection
from data_prepare.sources import Scan, Source
from data_prepare.utterance import Utterance

ROWS_NAME = "utterances.jsonl"
REJECTED_NAME = "rejected.jsonl"
_row_of = attrgetter(*(column.name for column in fields(Utterance)))
_encode_json = json.JSONEncoder(ensure_ascii=False).encode


def stable_hash(seed: int, text: str) -> int:
    """Return 64 random bits that belong to a name; equal on every machine.

    Arguments
    ---------
    seed : int
        Another seed gives other bits.
    text : str
        The name.

    Returns
    -------
    int
        0 to 2**64 - 1.
    """
    data = f"{seed}\n{text}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")


@dataclass
class NumberedNames:
    """Names, numbered in the order in which they are first seen."""

    numbers: dict[str, int] = field(default_factory=dict)

    def number(self, name: str) -> int:
        """Return the number of a name."""
        return self.numbers.setdefault(name, len(self.numbers))

    @property
    def names(self) -> list[str]:
        """Names in the order of their numbers."""
        return list(self.numbers)


@dataclass(frozen=True)
class ScannedCorpus:
    """All utterances that passed the filters, as columns of length N in the order of reading.

    Arguments
    ---------
    seconds : ndarray
        [N] durations.
    categories, groups, speakers, splits : ndarray
        [N] numbers of names; a speaker or split of -1 is none.
    hashes : ndarray
        [N] `stable_hash` of the ids.
    offsets : ndarray
        [N] places of the lines in the list on disk.
    category_names, group_names, speaker_names, split_names : list[str]
        What the numbers mean.
    counts : RejectionCounts
        What was left out so far.
    """

    seconds: npt.NDArray[np.float64]
    categories: npt.NDArray[np.integer]
    groups: npt.NDArray[np.integer]
    speakers: npt.NDArray[np.integer]
    splits: npt.NDArray[np.integer]
    hashes: npt.NDArray[np.uint64]
    offsets: npt.NDArray[np.uint64]
    category_names: list[str]
    group_names: list[str]
    speaker_names: list[str]
    split_names: list[str]
    counts: RejectionCounts


@dataclass(frozen=True)
class ScanPart:
    """What a worker sends back of one task: lines for the list and the columns' values."""

    lines: list[bytes]
    columns: list[tuple[float, str, str, str, str | None, int]]
    rejected: list[Rejection]


def scan_task(source: Source, filters: Filters, seed: int, task: Any) -> ScanPart:
    """Read one task of a source and filter its utterances."""
    scan = filtered(source.read(task), filters)
    lines, columns = [], []
    for utterance in scan.utterances:
        lines.append(encode_row(utterance))
        duration_s = (utterance.end_s or 0.0) - utterance.start_s
        names = (utterance.category, utterance.group, utterance.speaker, utterance.split)
        columns.append((duration_s, *names, stable_hash(seed, utterance.id)))
    return ScanPart(lines, columns, scan.rejected)


def filtered(scan: Scan, filters: Filters) -> Scan:
    """Return what a task holds with the utterances that filters leave out among the rejected."""
    checked = [(utterance, filters.check(utterance)) for utterance in scan.utterances]
    kept = [utterance for utterance, rejection in checked if rejection is None]
    rejected = [rejection for _, rejection in checked if rejection is not None]
    return Scan(kept, scan.rejected + rejected)


def encode_row(utterance: Utterance) -> bytes:
    """Return an utterance as a line of the list on disk."""
    row = _row_of(utterance)
    return _encode_json(row if utterance.notes else row[:-1]).encode() + b"\n"


def decode_row(line: bytes) -> Utterance:
    """Return the utterance of a line of the list on disk."""
    return Utterance(*json.loads(line))


def write_rejections(file: TextIO, rejections: Iterable[Rejection]) -> None:
    """Append rejections to an open list, one JSON line each."""
    file.writelines(json.dumps(asdict(r), ensure_ascii=False) + "\n" for r in rejections)


def scan_corpus(
    source: Source,
    folder: Path,
    pool: Executor,
    *,
    filters: Filters,
    selection: Selection,
    seed: int,
    ahead: int,
    progress: bool,
) -> ScannedCorpus:
    """Read tasks until the corpus ends or the hours wanted are found.

    Arguments
    ---------
    source : Source
        The corpus.
    folder : Path
        Gets the list of utterances and the list of rejections.
    pool : Executor
        Reads the tasks.
    filters : Filters
        Bounds for utterances.
    selection : Selection
        When reading can stop.
    seed : int
        For the hashes.
    ahead : int
        Tasks under way.
    progress : bool
        Show a bar.

    Returns
    -------
    ScannedCorpus
        The columns.
    """
    tasks = source.tasks()
    builder = _Columns(selection)
    read = functools.partial(scan_task, source, filters, seed)
    num_read = 0
    with (
        (folder / ROWS_NAME).open("wb") as rows,
        (folder / REJECTED_NAME).open("w", encoding="utf-8", newline="\n") as rejected,
        tqdm(total=len(tasks), desc="transcripts", disable=not progress) as bar,
        closing(ordered_map(pool, read, tasks, ahead=ahead)) as parts,
    ):
        for part in parts:
            num_read += 1
            builder.add(part, rows, rejected)
            bar.update()
            if selection.is_filled(builder.seconds_of_bin):
                break
        builder.leave_out(_not_needed(tasks[num_read:]), rejected)
    return builder.finish()


class _Columns:
    """Collects the parts."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._seconds = array("d")
        self._numbers = {name: array("i") for name in ("category", "group", "speaker", "split")}
        self._names = {name: NumberedNames() for name in self._numbers}
        self._hashes = array("Q")
        self._offsets = array("Q")
        self._counts = RejectionCounts()
        self._end = 0
        self.seconds_of_bin: defaultdict[str, float] = defaultdict(float)

    def add(self, part: ScanPart, rows: BinaryIO, rejected: TextIO) -> None:
        for line, (seconds, category, group, speaker, split, digest) in zip(
            part.lines, part.columns, strict=True
        ):
            self._seconds.append(seconds)
            self._note("category", category)
            self._note("group", group)
            self._note("speaker", speaker or None)
            self._note("split", split)
            self._hashes.append(digest)
            self._offsets.append(self._end)
            self._end += len(line)
            self.seconds_of_bin[self._selection.bin_of(category)] += seconds
        rows.writelines(part.lines)
        self.leave_out(part.rejected, rejected)

    def leave_out(self, rejections: Sequence[Rejection], rejected: TextIO) -> None:
        self._counts.add(rejections)
        write_rejections(rejected, rejections)

    def finish(self) -> ScannedCorpus:
        numbers = {name: np.frombuffer(col, np.int32) for name, col in self._numbers.items()}
        names = {name: numbered.names for name, numbered in self._names.items()}
        return ScannedCorpus(
            seconds=np.frombuffer(self._seconds),
            categories=numbers["category"],
            groups=numbers["group"],
            speakers=numbers["speaker"],
            splits=numbers["split"],
            hashes=np.frombuffer(self._hashes, np.uint64),
            offsets=np.frombuffer(self._offsets, np.uint64),
            category_names=names["category"],
            group_names=names["group"],
            speaker_names=names["speaker"],
            split_names=names["split"],
            counts=self._counts,
        )

    def _note(self, column: str, name: str | None) -> None:
        number = -1 if name is None else self._names[column].number(name)
        self._numbers[column].append(number)


def _not_needed(tasks: Sequence[Any]) -> list[Rejection]:
    detail = "the hours wanted were found before"
    return [Rejection(task.id, "not_needed", detail, is_choice=True) for task in tasks]
