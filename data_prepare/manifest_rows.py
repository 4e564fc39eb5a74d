"""Read manifests: JSON lines or CSV, one utterance a record, from any place in the file."""

import csv
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO

_JSON_SUFFIXES = {".jsonl", ".json", ".ndjson"}
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_BOM = b"\xef\xbb\xbf"
SUFFIXES = sorted(_JSON_SUFFIXES | _DELIMITERS.keys())


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a manifest.

    Arguments
    ---------
    line : int
        Number of its first line in the file, from 1.
    offset : int
        Where it starts in the file, bytes.
    values : dict | None
        Field to value, None if it is broken.
    fault : str
        Why it is broken.
    """

    line: int
    offset: int
    values: dict[str, Any] | None
    fault: str = ""


def read_records(path: Path, *, offset: int = 0, line: int = 1) -> Iterator[Record]:
    """Yield the records of a manifest from a place on.

    Arguments
    ---------
    path : Path
        Suffix .jsonl, .ndjson or .json: one JSON object a line; .csv or .tsv: a table with a
        header, RFC 4180 quotes. UTF-8, with or without byte order mark.
    offset : int
        Start of a record, as `Record.offset` told it, or 0.
    line : int
        The line's number there.

    Yields
    ------
    Record
        In the file's order, broken ones included; empty lines are skipped.
    """
    with path.open("rb") as file:
        lines = _Lines(file)
        if path.suffix.lower() in _JSON_SUFFIXES:
            lines.move(offset, line)
            yield from _read_json(lines)
        else:
            delimiter = _DELIMITERS[path.suffix.lower()]
            header = next(csv.reader(lines, delimiter=delimiter), [])
            if offset:
                lines.move(offset, line)
            yield from _read_csv(lines, [name.strip() for name in header], delimiter)


@dataclass(frozen=True)
class Where:
    """Which records are taken.

    Arguments
    ---------
    patterns : mapping
        Field to pattern: * and ? as in file names, in any case, alternatives with "|". A record
        must match all fields.
    """

    patterns: Mapping[str, str]

    def matches(self, values: Mapping[str, Any]) -> bool:
        """Tell whether a record is taken."""
        return all(
            any(fnmatchcase(as_text(values.get(field)).casefold(), part) for part in parts)
            for field, parts in self._parts.items()
        )

    @property
    def _parts(self) -> dict[str, list[str]]:
        return {name: text.casefold().split("|") for name, text in self.patterns.items()}


def as_text(value: Any) -> str:
    """Return a manifest's value as text; null is empty, white space is single."""
    return "" if value is None else " ".join(str(value).split())


def value_faults(values: Mapping[str, Any], notes: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with a record's values under our names, and with those it keeps."""
    missing = [n for n in ("id", "path") if not as_text(values.get(n))]
    missing += [] if "text" in values else ["text"]
    if missing:
        yield f"lacks {', '.join(missing)}"
    times = {"start": 0.0, "end": math.inf}
    for name in times.keys() & values.keys():
        try:
            times[name] = float(values[name])
        except (TypeError, ValueError):
            yield f"{name} is {values[name]!r}, not a number of seconds"
    if not 0 <= times["start"] < times["end"]:
        yield f"start {times['start']} and end {times['end']} are no stretch of time"
    for name, value in notes.items():
        try:
            json.dumps(value, allow_nan=False)
        except ValueError:  # Python's reader takes NaN and Infinity
            yield f"{name} is {value!r}, not plain JSON"


class _Lines:
    """Lines of a file as text, with the place of the next one."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.offset = 0
        self.line = 1
        if file.read(len(_BOM)) == _BOM:
            self.offset = len(_BOM)
        file.seek(self.offset)

    def move(self, offset: int, line: int) -> None:
        self.offset, self.line = max(offset, self.offset), line
        self._file.seek(self.offset)

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        data = self._file.readline()
        if not data:
            raise StopIteration
        self.offset += len(data)
        self.line += 1
        return data.decode("utf-8", "surrogateescape")


def _read_json(lines: _Lines) -> Iterator[Record]:
    offset, line = lines.offset, lines.line
    for text in lines:
        if text.strip():
            yield _parse_json(text, line, offset)
        offset, line = lines.offset, lines.line


def _parse_json(text: str, line: int, offset: int) -> Record:
    if not _is_utf8(text):
        return Record(line, offset, None, "not UTF-8")
    try:
        values = json.loads(text)
    except ValueError as error:
        return Record(line, offset, None, f"not JSON ({error})")
    if not isinstance(values, dict):
        return Record(line, offset, None, "not a JSON object")
    return Record(line, offset, values)


def _read_csv(lines: _Lines, header: list[str], delimiter: str) -> Iterator[Record]:
    offset, line = lines.offset, lines.line
    table = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        try:
            cells = next(table)
        except StopIteration:
            return
        except csv.Error as error:
            yield Record(line, offset, None, f"not CSV ({error})")
            return
        if cells:
            yield _parse_cells(cells, header, line, offset)
        offset, line = lines.offset, lines.line


def _parse_cells(cells: list[str], header: list[str], line: int, offset: int) -> Record:
    if len(cells) != len(header):
        return Record(line, offset, None, f"{len(cells)} columns, header has {len(header)}")
    if not all(map(_is_utf8, cells)):
        return Record(line, offset, None, "not UTF-8")
    values = {name: cell if cell else None for name, cell in zip(header, cells, strict=True)}
    return Record(line, offset, values)


def _is_utf8(text: str) -> bool:
    return not any("\udc80" <= char <= "\udcff" for char in text)
