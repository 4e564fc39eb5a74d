"""Wall-clock seconds of a run, kept over restarts, and when its target was reached.

Counted: training, validation, and the checkpoints written within them. Not counted: preparing
data, building the model, the time between a kill and its restart, and work that was lost since
the last checkpoint (a restart continues the clock of the checkpoint that it loads).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from recipes.common.recoverable import loader, recoverable, saver

Part = Literal["train", "valid"]


@recoverable
class TrainClock:
    """Recoverable clock with two parts, ``train`` and ``valid``; it stands still outside both."""

    def __init__(self) -> None:
        self.target_reached_s: float | None = None
        self._seconds: dict[str, float] = {"train": 0.0, "valid": 0.0}
        self._running: Part | None = None
        self._since = 0.0

    @contextmanager
    def running(self, part: Part) -> Iterator[None]:
        """Count the time inside the block as ``part``."""
        if self._running is not None:
            raise RuntimeError(f"clock: already counts {self._running}; expected no nested blocks.")
        self._running, self._since = part, time.monotonic()
        try:
            yield
        finally:
            self._lap()
            self._running = None

    def _lap(self) -> None:
        now = time.monotonic()
        if self._running is not None:
            self._seconds[self._running] += now - self._since
        self._since = now

    @property
    def train_s(self) -> float:
        """Seconds of training, without validation."""
        self._lap()
        return self._seconds["train"]

    @property
    def valid_s(self) -> float:
        """Seconds of validation, with the checkpoints saved after it."""
        self._lap()
        return self._seconds["valid"]

    @property
    def total_s(self) -> float:
        """Seconds of training and validation."""
        return self.train_s + self.valid_s

    def note_target(self, *, is_reached: bool) -> None:
        """Remember :attr:`total_s` the first time that the target is reached."""
        if is_reached and self.target_reached_s is None:
            self.target_reached_s = self.total_s

    @saver
    def save(self, path: Path) -> None:
        """Write the seconds as JSON."""
        self._lap()
        state = {"seconds": self._seconds, "target_reached_s": self.target_reached_s}
        Path(path).write_text(json.dumps(state), encoding="utf-8")

    @loader
    def load(self, path: Path, end_of_epoch: bool) -> None:
        """Continue from the saved seconds."""
        del end_of_epoch
        state = json.loads(Path(path).read_text(encoding="utf-8"))
        self._seconds = state["seconds"]
        self.target_reached_s = state["target_reached_s"]
        self._since = time.monotonic()
