"""A run whose loss or parameters became infinite leaves a file that says so.

Its checkpoints are from before, so that the same command would go on and diverge again; who starts
runs (``compare_training.py``) can tell this end from a fault.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from recipes.common.experiment import write_atomically
from recipes.common.update import NonFiniteError

FILE = "diverged.json"


def is_divergence(error: BaseException) -> bool:
    """Whether an error says so, or the report of a Hogwild worker's error does."""
    return isinstance(error, FloatingPointError) or NonFiniteError.__name__ in str(error)


def note(folder: Path, error: BaseException) -> None:
    """Write what ended a run into its folder."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    record = {"written": now, "error": str(error)}
    write_atomically(folder / FILE, json.dumps(record, indent=1) + "\n")
