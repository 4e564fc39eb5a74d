"""What a preparer must offer: tasks, and a reader that turns a task into utterances."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from data_prepare.audio import AudioError, AudioInfo, probe
from data_prepare.filters import Rejection
from data_prepare.utterance import Utterance

DEFAULT_OVERHANG_S = 0.1
_UNKNOWN_LENGTH = 1 << 62  # what libsndfile tells of a stream without length


@dataclass
class Scan:
    """What one task of a source holds.

    Arguments
    ---------
    utterances : list[Utterance]
        Their ends are numbers, within their recordings.
    rejected : list[Rejection]
        Everything else that the task names.
    """

    utterances: list[Utterance] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)


class Source(Protocol):
    """A corpus as it lies on disk. Small: it is sent to worker processes with every task."""

    @property
    def root(self) -> Path:
        """Folder to which the recordings' paths are noted relative."""

    def tasks(self) -> Sequence[Any]:
        """Return the pieces of the corpus in the order in which they are wanted."""

    def read(self, task: Any) -> Scan:
        """Read a piece: transcripts and headers of recordings, no audio."""

    def fingerprint(self) -> str:
        """Return a digest that changes when transcripts or metadata do."""


def fingerprint_files(paths: Iterable[Path], *, root: Path) -> str:
    """Return a digest of the names, sizes and times of change of files.

    Arguments
    ---------
    paths : Iterable[Path]
        Files that exist.
    root : Path
        Folder that the names are relative to.

    Returns
    -------
    str
        SHA-256 in hexadecimal digits.
    """
    digest = hashlib.sha256()
    for path in sorted(paths):
        stat = path.stat()
        name = path.relative_to(root) if path.is_relative_to(root) else path
        digest.update(f"{name}\t{stat.st_size}\t{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


class RecordingHeaders:
    """Reads each recording's header once, for readers that meet a recording several times."""

    def __init__(self) -> None:
        self._known: dict[Path, AudioInfo | Rejection] = {}

    def get(self, path: Path) -> AudioInfo | Rejection:
        """Return the header, or why there is none (its id is the path)."""
        if path not in self._known:
            self._known[path] = _read_header(path)
        return self._known[path]


def place(
    scan: Scan,
    utterance: Utterance,
    header: AudioInfo | Rejection,
    *,
    max_overhang_s: float = DEFAULT_OVERHANG_S,
) -> None:
    """Add an utterance to a scan with its end filled in, or say why it does not fit.

    Arguments
    ---------
    scan : Scan
        Gets the utterance or a rejection.
    utterance : Utterance
        An end of None is the recording's end.
    header : AudioInfo | Rejection
        From `RecordingHeaders`.
    max_overhang_s : float
        An end beyond the recording's by at most this is moved to it.
    """
    if isinstance(header, Rejection):
        scan.rejected.append(replace(header, id=utterance.id))
        return
    length_s = header.duration_s
    end_s = length_s if utterance.end_s is None else utterance.end_s
    if utterance.start_s >= length_s or end_s > length_s + max_overhang_s:
        detail = (
            f"starts at {utterance.start_s:.3f} s, ends at {max(end_s, length_s):.3f} s, recording "
            f"ends at {length_s:.3f} s; max_overhang_s {max_overhang_s}"
        )
        scan.rejected.append(Rejection(utterance.id, "beyond_recording", detail))
        return
    scan.utterances.append(replace(utterance, end_s=min(end_s, length_s)))


def _read_header(path: Path) -> AudioInfo | Rejection:
    if not path.is_file():
        return Rejection(str(path), "missing_recording", f"no file {path}")
    try:
        info = probe(path)
    except AudioError as error:
        return Rejection(str(path), "undecodable", str(error))
    if not 0 < info.num_frames < _UNKNOWN_LENGTH:
        return Rejection(str(path), "undecodable", f"{path}: {info.num_frames} samples")
    return info
