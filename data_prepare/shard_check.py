"""Check one shard: size, checksum, members, JSON, audio, and its rows and texts in the index.

The work of one process of `data_prepare.verify` and `data_prepare.repair`: it reads the shard
once from end to end and answers with counts, not with content.
"""

import hashlib
import json
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prepare.files import write_json
from data_prepare.findings import Finding, Findings
from data_prepare.index import ShardPart
from data_prepare.index_format import TEXTS_NAME, ShardEntry
from data_prepare.pair_check import audio_fault, read_meta, row_fault, text_row
from data_prepare.shard_walk import Flaw, Pair, ShardWalk
from data_prepare.utterance import safe_key


@dataclass(frozen=True)
class ShardTask:
    """Which shard to check, against what.

    Arguments
    ---------
    folder : Path
        Of the split.
    name : str
        File name of the shard.
    entry : ShardEntry | None
        Its line in index.json, if that is there and whole.
    rows : NDArray | None
        Its rows of utterances.npy.
    text_bytes : tuple[int, int] | None
        Its part of utterances.jsonl, [first, last) byte.
    categories : list[str]
        Of the index.
    rate_hz : int | None
        Of the index.
    depth : str
        "quick" reads no shard, "content" reads every byte, "full" decodes too.
    part_path : Path | None
        Where to write what the shard contributes to an index, see `read_part`.
    """

    folder: Path
    name: str
    entry: ShardEntry | None = None
    rows: NDArray[np.void] | None = None
    text_bytes: tuple[int, int] | None = None
    categories: list[str] = field(default_factory=list)
    rate_hz: int | None = None
    depth: str = "full"
    part_path: Path | None = None

    @property
    def path(self) -> Path:
        """Where the shard lies."""
        return self.folder / self.name

    @property
    def where(self) -> str:
        """The shard in messages."""
        return f"{self.folder.name}/{self.name}"


@dataclass
class ShardReport:
    """What a check of a shard found.

    Arguments
    ---------
    name : str
        File name of the shard.
    findings : Findings
        What is wrong.
    entry : ShardEntry | None
        What the index should say; None if the shard was not read.
    offsets, key_hashes : NDArray, NDArray
        [N] place and 64-bit hash of the key of each utterance.
    rates_hz, categories : set, set
        Those that occur.
    """

    name: str
    findings: Findings = field(default_factory=Findings)
    entry: ShardEntry | None = None
    offsets: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))
    key_hashes: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))
    rates_hz: set[int] = field(default_factory=set)
    categories: set[str] = field(default_factory=set)


def check_shard(task: ShardTask) -> ShardReport:
    """Check a shard.

    Arguments
    ---------
    task : ShardTask
        Which, and against what.

    Returns
    -------
    ShardReport
        Findings and counts.
    """
    check = _ShardCheck(task)
    try:
        check.load_texts()
        if check.size_fits() and task.depth != "quick":
            check.walk()
        elif task.depth == "quick":
            check.list_keys()
    except OSError as error:
        check.add("unreadable", str(error))
    return check.report


def read_part(path: Path, entry: ShardEntry) -> ShardPart:
    """Return what a checked shard contributes to an index, from where its check wrote it."""
    content = json.loads(path.read_text(encoding="utf-8"))
    rows = [(row[0], row[1], row[2], row[3]) for row in content["rows"]]
    return ShardPart(entry, rows, content["texts"])


class _ShardCheck:
    """Collects what is to be said of a shard."""

    def __init__(self, task: ShardTask):
        self.task = task
        self.report = ShardReport(task.name)
        rows: Any = task.rows if task.rows is not None else []
        self._row_at = {int(row["offset"]): row for row in rows}
        self._line_at: dict[int, dict[str, Any]] = {}
        self._part: dict[str, list[Any]] = {"rows": [], "texts": []}

    def add(self, kind: str, detail: str, *, key: str = "", offset: int | None = None) -> None:
        self.report.findings.add(Finding(kind, self.task.where, detail, key, offset))

    def load_texts(self) -> None:
        if self.task.text_bytes is not None:
            self._line_at = dict(zip(self._row_at, _text_lines(self.task), strict=False))

    def size_fits(self) -> bool:
        """Tell whether the shard is a file that can be read; a wrong size is noted only."""
        try:
            status = self.task.path.stat()
        except FileNotFoundError:
            self.add("missing_shard", "is not there")
            return False
        if not stat.S_ISREG(status.st_mode):
            self.add("missing_shard", "is no plain file")
            return False
        entry = self.task.entry
        if entry is not None and entry.num_bytes != status.st_size:
            self.add("shard_size", f"{status.st_size} bytes, the index says {entry.num_bytes}")
        return True

    def walk(self) -> None:
        offsets, hashes, num_samples = [], [], 0
        with self.task.path.open("rb") as file:
            walk = ShardWalk(file)
            for found in walk:
                if isinstance(found, Flaw):
                    self.add(found.kind, found.detail, key=found.name, offset=found.offset)
                    continue
                num_samples += self._check_pair(found)
                offsets.append(found.offset)
                hashes.append(_hash(found.key))
        self.report.entry = ShardEntry(
            self.task.name, walk.num_bytes, walk.sha256, len(offsets), num_samples
        )
        self._set_keys(offsets, hashes)
        if self.task.part_path is not None:
            write_json(self.task.part_path, self._part)
        for offset in sorted(self._row_at):
            self.add("row", "the shard holds no such utterance", offset=offset)
        self._check_entry(self.report.entry)

    def list_keys(self) -> None:
        """Take the keys from utterances.jsonl, without a look into the shard."""
        hashes = [_hash(str(line.get("key"))) for line in self._line_at.values()]
        self._set_keys(list(self._line_at), hashes)

    def _set_keys(self, offsets: list[int], hashes: list[int]) -> None:
        self.report.offsets = np.array(offsets, np.uint64)
        self.report.key_hashes = np.array(hashes, np.uint64)

    def _check_entry(self, found: ShardEntry) -> None:
        entry = self.task.entry
        if entry is None:
            return
        if entry.num_bytes == found.num_bytes and entry.sha256 != found.sha256:
            self.add("shard_checksum", f"SHA-256 {found.sha256}, the index says {entry.sha256}")
        counts = (found.num_utterances, found.num_samples)
        expected = (entry.num_utterances, entry.num_samples)
        if counts != expected:
            self.add("row", f"holds {counts} utterances, samples, the index says {expected}")

    def _check_pair(self, pair: Pair) -> int:
        """Check an utterance; returns its samples."""
        row = self._row_at.pop(pair.offset, None)
        try:
            meta = read_meta(pair.text)
        except ValueError as error:
            self.add("member_json", str(error), key=pair.key, offset=pair.offset)
            return 0
        for kind, detail in self._pair_faults(pair, meta, row):
            self.add(kind, detail, key=pair.key, offset=pair.offset)
        self.report.rates_hz.add(meta["rate_hz"])
        self.report.categories.add(meta["category"])
        if self.task.part_path is not None:
            row = (pair.offset, pair.num_bytes, meta["num_samples"], meta["category"])
            self._part["rows"].append(row)
            self._part["texts"].append(text_row(pair.key, meta))
        return int(meta["num_samples"])

    def _pair_faults(self, pair: Pair, meta: dict[str, Any], row: Any) -> Iterator[tuple[str, str]]:
        task = self.task
        if not meta["id"] or safe_key(meta["id"]) != pair.key:
            yield "member_json", f"its id {meta['id']!r} belongs to another key"
        if task.rate_hz not in (None, meta["rate_hz"]):
            yield "member_json", f"rate_hz is {meta['rate_hz']}, the index says {task.rate_hz}"
        if task.depth == "full":
            fault = audio_fault(pair.flac, num_samples=meta["num_samples"], rate_hz=meta["rate_hz"])
            if fault:
                yield "audio", fault
        if task.rows is not None:
            fault = row_fault(row, pair, meta, task.categories)
            if fault:
                yield "row", fault
        line = self._line_at.get(pair.offset)
        if line is not None and line != text_row(pair.key, meta):
            yield "text", f"{TEXTS_NAME} has {str(line)[:200]}"


def _text_lines(task: ShardTask) -> Iterator[dict[str, Any]]:
    """Yield the shard's lines of utterances.jsonl; {} for one that is no JSON object."""
    if task.text_bytes is None:
        return
    first, last = task.text_bytes
    with (task.folder / TEXTS_NAME).open("rb") as file:
        file.seek(first)
        while file.tell() < last:
            try:
                line = json.loads(file.readline())
            except (ValueError, RecursionError):
                line = {}
            yield line if isinstance(line, dict) else {}


def _hash(key: str) -> int:
    data = key.encode(errors="surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest())
