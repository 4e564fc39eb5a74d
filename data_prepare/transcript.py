"""Read time-aligned transcripts of BizSpeech: clocks, columns and the ends that are not there.

Source: A. Umashankar, "Large Scale Speech Recognition with Deep Learning", master's thesis,
Aalto University, 2021 (the corpus's layout).
"""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

COLUMNS = ("SentenceID", "Sentence", "SentenceTimeGen", "SpeakerID", "Session")
_TEXT_COLUMN = "Sentence"
_CLOCK = re.compile(r"(\d+):([0-5]?\d):([0-5]?\d(?:\.\d+)?)", re.ASCII)


class TranscriptError(Exception):
    """A transcript that cannot be read at all; the message says why."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a transcript.

    Arguments
    ---------
    line : int
        Number of the line in the file, from 1.
    values : dict | None
        Column name to text for `COLUMNS`, or None if the line is broken.
    fault : str
        Why the line is broken.
    """

    line: int
    values: dict[str, str] | None
    fault: str = ""


def parse_clock(clock: str) -> float | None:
    """Turn "hh:mm:ss" with an optional decimal fraction into seconds.

    Arguments
    ---------
    clock : str
        Such as "00:01:02.5", which is 62.5 s.

    Returns
    -------
    float | None
        Seconds, or None if this is no clock.
    """
    match = _CLOCK.fullmatch(clock.strip())
    if match is None:
        return None
    hours, minutes, seconds = match.groups()
    return 3600.0 * int(hours) + 60.0 * int(minutes) + float(seconds)


def read_rows(path: Path) -> list[Row]:
    """Read all lines of a transcript after its header, broken ones included.

    Lines end with LF or CRLF; a byte order mark is skipped; quotes and "#" are plain text. The
    columns before the sentence are counted from the left and those after it from the right, so
    that tabs in the sentence stay in it.

    Arguments
    ---------
    path : Path
        `transcript_timealigned.txt`.

    Returns
    -------
    list[Row]
        In the file's order; empty lines are skipped.

    Raises
    ------
    TranscriptError
        If the header lacks a column, or the file cannot be read.
    """
    try:
        lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    except OSError as error:
        raise TranscriptError(f"cannot be read: {error}") from error
    header = lines[0].decode("utf-8", "replace").rstrip("\r").split("\t")
    header = [name.strip() for name in header]
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise TranscriptError(f"header {header} lacks {', '.join(missing)}")
    return [
        _read_row(number, line, header)
        for number, line in enumerate(lines[1:], start=2)
        if line.strip()
    ]


def find_ends(starts_s: Sequence[float | None]) -> list[tuple[str, float | None]]:
    """Find where each row ends: at the start of the next one.

    Where times run backwards, the longest run of rows in ascending order tells which rows are
    wrong: those outside it, and where two runs are equally long, those in only one of them. A
    row whose successor has no good start has no known end, since what lies up to the next good
    row holds more than its text. For the same reason rows that start together are all wrong: the
    audio up to the next start holds the words of each of them.

    Arguments
    ---------
    starts_s : Sequence[float | None]
        Start of each row in seconds, None where the clock is broken.

    Returns
    -------
    list of (str, float | None)
        For each row a reason for its rejection, or "" and its end; the last row's end is None.
    """
    known = [row for row, start_s in enumerate(starts_s) if start_s is not None]
    run = _in_every_longest_run([starts_s[row] or 0.0 for row in known])
    ascending = {known[position] for position in run}
    at_start = Counter(starts_s[row] for row in ascending)
    ends: list[tuple[str, float | None]] = []
    for row, start_s in enumerate(starts_s):
        if start_s is None:
            ends.append(("broken_clock", None))
        elif row not in ascending:
            ends.append(("time_runs_backwards", None))
        elif at_start[start_s] > 1:
            ends.append(("shared_start", None))
        elif row + 1 == len(starts_s):
            ends.append(("", None))
        elif row + 1 not in ascending:
            ends.append(("unknown_end", None))
        else:
            ends.append(("", starts_s[row + 1]))
    return ends


def _read_row(number: int, line: bytes, header: list[str]) -> Row:
    try:
        cells = line.decode("utf-8").rstrip("\r").split("\t")
    except UnicodeDecodeError as error:
        return Row(number, None, f"line {number}: not UTF-8 ({error.reason})")
    if len(cells) < len(header):
        return Row(number, None, f"line {number}: {len(cells)} columns, header has {len(header)}")
    text_at = header.index(_TEXT_COLUMN)
    num_after = len(header) - text_at - 1
    text_end = len(cells) - num_after
    cells = [*cells[:text_at], " ".join(cells[text_at:text_end]), *cells[text_end:]]
    values = {name: " ".join(cell.split()) for name, cell in zip(header, cells, strict=True)}
    return Row(number, {name: values[name] for name in COLUMNS})


def _in_every_longest_run(values: Sequence[float]) -> set[int]:
    """Return the positions that belong to every longest run that never descends."""
    to_here = _run_lengths(values)
    from_here = _run_lengths([-value for value in reversed(values)])[::-1]
    longest = max(to_here, default=0)
    at_length: dict[int, list[int]] = {}
    for position, (before, after) in enumerate(zip(to_here, from_here, strict=True)):
        if before + after - 1 == longest:
            at_length.setdefault(before, []).append(position)
    return {positions[0] for positions in at_length.values() if len(positions) == 1}


def _run_lengths(values: Sequence[float]) -> list[int]:
    """Return the length of the longest run that ends at each position (patience sorting)."""
    tails: list[float] = []  # smallest last value of a run of each length
    lengths = []
    for value in values:
        length = bisect_right(tails, value)
        tails[length : length + 1] = [value]
        lengths.append(length + 1)
    return lengths
