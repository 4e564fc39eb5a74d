"""Calls that one thread asks another one to make; asking wakes it from its wait."""

from __future__ import annotations

import contextlib
import os
import queue
from collections.abc import Callable


class Calls:
    """A queue of calls that `multiprocessing.connection.wait` can wait for."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)

    def fileno(self) -> int:
        """Return what can be waited for."""
        return self._read

    def put(self, call: Callable[[], None]) -> None:
        """Ask for a call."""
        self._calls.put(call)
        os.write(self._write, b"w")

    def make(self) -> None:
        """Make all calls that were asked for, in order."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._read, 4096)
        while not self._calls.empty():
            self._calls.get()()

    def close(self) -> None:
        """Give the descriptors back."""
        os.close(self._read)
        os.close(self._write)
