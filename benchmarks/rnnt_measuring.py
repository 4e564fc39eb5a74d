"""Time and peak memory of the transducer's benchmarks, on a CPU or a GPU."""

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.measuring import MIB


def now(device: str) -> float:
    """Return the time in seconds, once the device has done what it was told.

    On a CPU that is this process's CPU time, so that other processes do not count.
    """
    if device == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def seconds_of(act: Callable[[], Any], device: str, *, repeats: int, warmup: int = 3) -> float:
    """Return the median of an act's seconds."""
    found = []
    for number in range(warmup + repeats):
        begun = now(device)
        act()
        if number >= warmup:
            found.append(now(device) - begun)
    return median(found)


def reset_peak(device: str) -> float:
    """Forget the peak of memory; return what is in use now, in MiB."""
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() / MIB
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return peak_mib(device)


def peak_mib(device: str) -> float:
    """Return the peak of memory in MiB: allocated bytes on a GPU, on a CPU the resident set."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / MIB
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def fault_of(error: Exception) -> str:
    """Return an error in one short line, for a report."""
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first}"[:200]
