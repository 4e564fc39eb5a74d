"""How the main thread stays awake to what happens to the workers, and to the run."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hogwild.coordinator import Coordinator


class Watched:
    """Validation data that stop when the workers have failed.

    Arguments
    ---------
    data : Any
        The validation data.
    coordinator : Coordinator
        Knows of failures.
    """

    def __init__(self, data: Any, coordinator: Coordinator) -> None:
        self._data, self._coordinator = data, coordinator

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[Any]:
        for batch in self._data:
            check(self._coordinator)
            yield batch


def check(coordinator: Coordinator) -> None:
    """Raise what has ended the workers, if anything has."""
    if coordinator.failure is not None:
        raise coordinator.failure


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that the workers are ended too."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _frame: Any) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
