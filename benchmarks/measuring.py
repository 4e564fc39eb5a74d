"""Tools of the benchmarks: page cache, memory of a process tree, disk counters, reports."""

import ctypes
import json
import mmap
import os
import shlex
import statistics
import threading
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from recipes.common.experiment import git_commit
from recipes.common.machine import machine

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
MIB = 1 << 20
_SECTOR_BYTES = 512
_POLL_S = 0.02


def evict(paths: Iterable[Path]) -> None:
    """Ask the system to drop files from the page cache; they are synced to disk before."""
    for path in paths:
        number = os.open(path, os.O_RDONLY)
        try:
            os.fsync(number)
            os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(number)


def resident_share(paths: Iterable[Path]) -> float:
    """Return which share of the pages of some files the page cache holds, by mincore(2)."""
    mincore = ctypes.CDLL(None, use_errno=True).mincore
    mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
    num_pages = num_resident = 0
    for path in paths:
        if path.stat().st_size == 0:
            continue
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
            pages = ctypes.create_string_buffer(-(-len(view) // mmap.PAGESIZE))
            content = np.frombuffer(view, np.uint8)
            if mincore(content.ctypes.data, len(view), pages):
                raise OSError(ctypes.get_errno(), "mincore failed", str(path))
            del content  # else the map can not be closed
            num_resident += sum(byte & 1 for byte in pages.raw)
            num_pages += len(pages)
    return num_resident / max(1, num_pages)


def disk_bytes_read(folder: Path) -> int | None:
    """Return the bytes read so far from the device of a folder by everybody; None if unknown."""
    device = folder.stat().st_dev
    path = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat")
    if not path.is_file():
        return None
    return int(path.read_text(encoding="ascii").split()[2]) * _SECTOR_BYTES


def children(pid: int) -> list[int]:
    """Return the processes that a process has started and that still live."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in path.read_text(encoding="ascii").split()]


def memory_of(pid: int) -> dict[str, float]:
    """Return PSS (shared pages by parts) and USS (its own pages only) of a process in MiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return {
        "pss_mib": kib["Pss"] / 1024,
        "uss_mib": (kib["Private_Clean"] + kib["Private_Dirty"]) / 1024,
    }


class PeakMemory:
    """Watches a process and its children from a thread, while the block runs.

    Arguments
    ---------
    pid : int
        The process.

    Attributes
    ----------
    peaks : dict[int, dict[str, float]]
        The largest PSS and USS seen of each process.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.peaks: dict[int, dict[str, float]] = {}
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "PeakMemory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def summary(self) -> dict[str, float]:
        """Return the peaks of the process itself, and the largest among its children."""
        main = self.peaks.get(self.pid, {})
        others = [peak for pid, peak in self.peaks.items() if pid != self.pid]
        found = {f"main_{name}": value for name, value in main.items()}
        for name in main if others else ():
            found[f"worker_{name}"] = max(peak[name] for peak in others)
        return found

    def _watch(self) -> None:
        while not self._is_over.wait(_POLL_S):
            try:
                for pid in [self.pid, *children(self.pid)]:
                    self._note(pid, memory_of(pid))
            except (OSError, KeyError, IndexError):
                continue  # it ended while we looked

    def _note(self, pid: int, found: dict[str, float]) -> None:
        peak = self.peaks.setdefault(pid, found)
        self.peaks[pid] = {name: max(value, peak[name]) for name, value in found.items()}


def median_of(rows: Sequence[Mapping[str, Any]], name: str) -> float | None:
    """Return the median of a field over the rows that have it; None if none has."""
    values = [row[name] for row in rows if row.get(name) is not None]
    return float(statistics.median(values)) if values else None


def spread_of(rows: Sequence[Mapping[str, Any]], name: str) -> str:
    """Return "smallest-largest" of a field."""
    values = [row[name] for row in rows if row.get(name) is not None]
    return f"{min(values):.4g}-{max(values):.4g}" if values else ""


def setting(module: str, argv: Sequence[str], packages: Sequence[str]) -> dict[str, Any]:
    """Return how and where a benchmark ran: what every report begins with."""
    return {
        "command": shlex.join(["python", "-m", f"benchmarks.{module}", *argv]),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": git_commit(),
        "machine": machine(),
        "load_average": os.getloadavg(),
        "packages": {name: version(name) for name in packages},
    }


def head(title: str, record: Mapping[str, Any]) -> list[str]:
    """Return the first lines of a report."""
    place = record["machine"]
    packages = ", ".join(f"{name} {number}" for name, number in record["packages"].items())
    return [
        f"# {title}",
        "",
        f"- command: `{record['command']}`",
        f"- started: {record['started']}; commit: {record['commit']}; load average at the start: "
        + " ".join(f"{load:.2f}" for load in record["load_average"]),
        f"- machine: {place['processor']}, {place['cores']} cores, {place['memory_gib']} GiB; "
        f"Python {place['python']}",
        f"- packages: {packages}",
        "",
    ]


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return a Markdown table: the first column left, the others right."""
    lines = ["| " + " | ".join(header) + " |", "|---|" + "--:|" * (len(header) - 1)]
    return lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows] + [""]


def write_report(folder: Path, name: str, record: Mapping[str, Any], lines: Sequence[str]) -> Path:
    """Write `<date>-<name>.md` and its figures as `.json`; returns the report's path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{record['started'][:10]}-{name}.md"
    path.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    path.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return path
