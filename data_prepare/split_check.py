"""Check what stands beside the shards of a split, and say what is to be checked in each shard."""

from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from data_prepare.files import TEMPORARY_MARK, file_sha256
from data_prepare.findings import Finding, Findings
from data_prepare.index_format import (
    INDEX_NAME,
    ROWS_NAME,
    TEXTS_NAME,
    ShardEntry,
    load_rows,
    read_content,
    row_faults,
)
from data_prepare.pool import ordered_map
from data_prepare.shard_check import ShardReport, ShardTask, check_shard

SHARD_PATTERN = "shard-*.tar"
REPAIR_NAME = ".repair"
_CHUNK_BYTES = 1 << 24
_NEWLINE = 10


@dataclass
class SplitCheck:
    """What the index of a split says, as far as it can be believed.

    Arguments
    ---------
    folder : Path
        Of the split.
    findings : Findings
        What is wrong with the index and with the list of files.
    content : dict | None
        Of index.json; None if it is missing or damaged.
    shards : list[ShardEntry]
        Of index.json.
    rows : NDArray | None
        utterances.npy, memory-mapped; None if it does not fit.
    text_bounds : list[int] | None
        Where each shard's part of utterances.jsonl begins, and its end; None if it does not fit.
    """

    folder: Path
    findings: Findings = field(default_factory=Findings)
    content: dict[str, Any] | None = None
    shards: list[ShardEntry] = field(default_factory=list)
    rows: NDArray[np.void] | None = None
    text_bounds: list[int] | None = None

    @property
    def name(self) -> str:
        """The split's folder in messages."""
        return self.folder.name

    @property
    def is_whole(self) -> bool:
        """Whether index.json, utterances.npy and utterances.jsonl are."""
        return self.content is not None and self.rows is not None and self.text_bounds is not None

    def add(self, kind: str, file: str, detail: str) -> None:
        """Note a finding in a file of the split."""
        self.findings.add(Finding(kind, f"{self.name}/{file}", detail))

    def tasks(self, depth: str) -> list[ShardTask]:
        """Return what is to be checked in each shard; `depth` as in `ShardTask`."""
        if self.content is None:
            paths = sorted(self.folder.glob(SHARD_PATTERN))
            return [ShardTask(self.folder, path.name, depth=depth) for path in paths]
        firsts = np.cumsum([0, *(shard.num_utterances for shard in self.shards)]).tolist()
        return [
            ShardTask(
                folder=self.folder,
                name=entry.name,
                entry=entry,
                rows=None if self.rows is None else self.rows[firsts[n] : firsts[n + 1]],
                text_bytes=self._text_bytes(n),
                categories=self.content["categories"],
                rate_hz=self.content["rate_hz"],
                depth=depth,
            )
            for n, entry in enumerate(self.shards)
        ]

    def _text_bytes(self, number: int) -> tuple[int, int] | None:
        if self.text_bounds is None or self.rows is None:
            return None
        return self.text_bounds[number], self.text_bounds[number + 1]


def check_split(folder: Path) -> SplitCheck:
    """Check index.json, utterances.npy, utterances.jsonl and the list of files of a split.

    Arguments
    ---------
    folder : Path
        Of the split.

    Returns
    -------
    SplitCheck
        What the index says, and what is wrong.
    """
    check = SplitCheck(folder)
    try:
        check.content = content = read_content(folder)
        check.shards = [ShardEntry(**entry) for entry in content["shards"]]
        _check_index_files(check, content)
    except (ValueError, OSError) as error:
        check.add("index", INDEX_NAME, str(error))
    _check_file_names(check)
    return check


def find_split_folders(folder: Path) -> list[Path]:
    """Return the folders that hold shards or an index, of a corpus or a split's own."""
    if _is_split(folder):
        return [folder]
    return sorted(path for path in folder.iterdir() if path.is_dir() and _is_split(path))


def foreign_files(folder: Path, expected: Iterable[str]) -> list[Finding]:
    """Return what lies in a folder without being expected there."""
    findings = []
    names = set(expected)
    for path in sorted(folder.iterdir()):
        where = f"{folder.name}/{path.name}"
        if TEMPORARY_MARK in path.name or path.name == REPAIR_NAME:
            findings.append(Finding("leftover", where, "delete it once nothing writes there"))
        elif path.name not in names:
            findings.append(Finding("foreign_file", where, "no index names it"))
    return findings


def shard_reports(
    pool: Executor, tasks: list[ShardTask], *, ahead: int, progress: bool
) -> Iterator[tuple[ShardTask, ShardReport]]:
    """Check shards in parallel.

    Arguments
    ---------
    pool : Executor
        Where.
    tasks : list[ShardTask]
        Which.
    ahead : int
        Checks that may be under way.
    progress : bool
        Show a bar of bytes.

    Yields
    ------
    tuple[ShardTask, ShardReport]
        In order.
    """
    sizes = [task.path.stat().st_size if task.path.is_file() else 0 for task in tasks]
    bar = tqdm(total=sum(sizes), desc="shards", unit="B", unit_scale=True, disable=not progress)
    with bar, closing(ordered_map(pool, check_shard, tasks, ahead=ahead)) as reports:
        for task, size, report in zip(tasks, sizes, reports, strict=True):
            yield task, report
            bar.update(size)


def _is_split(folder: Path) -> bool:
    return (folder / INDEX_NAME).exists() or any(folder.glob(SHARD_PATTERN))


def _check_index_files(check: SplitCheck, content: dict[str, Any]) -> None:
    is_whole = {
        name: _stamp_fits(check, name, content["files"]) for name in (ROWS_NAME, TEXTS_NAME)
    }
    if is_whole[ROWS_NAME]:
        check.rows = _load_rows(check, content)
    if is_whole[TEXTS_NAME]:
        counts = [shard.num_utterances for shard in check.shards]
        num_lines, check.text_bounds = _text_bounds(check.folder / TEXTS_NAME, counts)
        if check.text_bounds is None:
            check.add("index_file", TEXTS_NAME, f"{num_lines} lines for {sum(counts)} utterances")


def _stamp_fits(check: SplitCheck, name: str, stamps: dict[str, Any]) -> bool:
    path = check.folder / name
    stamp = stamps[name]
    if not path.is_file():
        fault = "is missing"
    elif path.stat().st_size != stamp["num_bytes"]:
        fault = f"{path.stat().st_size} bytes, the index says {stamp['num_bytes']}"
    elif file_sha256(path) != stamp["sha256"]:
        fault = "its SHA-256 differs from the index"
    else:
        return True
    check.add("index_file", name, fault)
    return False


def _load_rows(check: SplitCheck, content: dict[str, Any]) -> NDArray[np.void] | None:
    try:
        rows = load_rows(check.folder)
        faults = row_faults(rows, content, check.shards, check="full")
    except (ValueError, OSError) as error:
        faults = [str(error)]
    for fault in faults:
        check.add("index_file", ROWS_NAME, fault)
    return None if faults else rows


def _text_bounds(path: Path, counts: list[int]) -> tuple[int, list[int] | None]:
    """Return the number of lines, and the byte where each shard's lines begin, and the end."""
    lasts = np.cumsum(counts)
    ends = np.zeros(len(counts), np.int64)
    num_lines = offset = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            newlines = np.flatnonzero(np.frombuffer(chunk, np.uint8) == _NEWLINE) + offset + 1
            here = (lasts > num_lines) & (lasts <= num_lines + len(newlines))
            ends[here] = newlines[lasts[here] - num_lines - 1]
            num_lines += len(newlines)
            offset += len(chunk)
    if num_lines != sum(counts):
        return num_lines, None
    # A shard without utterances ends where the one before it does.
    return num_lines, [0, *np.maximum.accumulate(ends).tolist()]


def _check_file_names(check: SplitCheck) -> None:
    expected = {INDEX_NAME, ROWS_NAME, TEXTS_NAME, *(shard.name for shard in check.shards)}
    if check.content is None:
        expected |= {path.name for path in check.folder.glob(SHARD_PATTERN)}
    for finding in foreign_files(check.folder, expected | {".work", "verify.json"}):
        check.findings.add(finding)
