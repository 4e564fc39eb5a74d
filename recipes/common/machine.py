"""What a run's speed and results depend on besides its command: the machine and the packages."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("speechbrain", "torch", "torchaudio", "hyperpyyaml", "sentencepiece", "webdataset")
CPU_INFO = Path("/proc/cpuinfo")


def machine() -> dict[str, Any]:
    """Return what the run's speed depends on: processor, cores, memory, GPUs, Python."""
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpus": gpus,
        "python": platform.python_version(),
    }


def _processor() -> str:
    """Return name, family, model and stepping: rented machines give unlike processors one name."""
    text = CPU_INFO.read_text(encoding="utf-8") if CPU_INFO.is_file() else ""
    first = text.split("\n\n", 1)[0]
    pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    found = {key.strip(): value.strip() for key, value in pairs}
    if "model name" not in found:
        return platform.processor() or platform.machine()
    keys = {"cpu family": "family", "model": "model", "stepping": "stepping"}
    kind = ", ".join(f"{word} {found[key]}" for key, word in keys.items() if key in found)
    return f"{found['model name']} ({kind})" if kind else found["model name"]


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that decide what a run computes."""
    return {name: version(name) for name in PACKAGES}
