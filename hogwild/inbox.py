"""What the parent tells a worker: read by a thread, which also reads the batches ahead."""

from __future__ import annotations

import os
import queue
import threading
import time
from multiprocessing.connection import Connection
from typing import Any

from hogwild.protocols import Batches


class Inbox:
    """Messages of the parent in order; a batch is read before it is given out.

    Kinds: ("item", (Item, batch, when its reading began)), ("flush", None), ("wake", None),
    ("log", None), ("failed", exception).
    If the parent is gone, the process ends.

    Arguments
    ---------
    pipe : Connection
        From the parent; only this thread receives.
    batches : Batches
        Where batches are read.
    """

    def __init__(self, pipe: Connection, batches: Batches) -> None:
        self._pipe, self._batches = pipe, batches
        self._queue: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self.asked = 0
        self.may_go = threading.Event()
        threading.Thread(target=self._receive, name="hogwild-inbox", daemon=True).start()

    @property
    def num_waiting(self) -> int:
        """Messages that :meth:`get` returns without waiting."""
        return self._queue.qsize()

    def put(self, kind: str) -> None:
        """Add a message without content; any thread may call it."""
        self._queue.put((kind, None))

    def get(self) -> tuple[str, Any]:
        """Wait for the next message."""
        return self._queue.get()

    def _receive(self) -> None:
        while True:
            try:
                kind, content = self._pipe.recv()
            except (EOFError, OSError):  # the parent has ended, however it did
                os._exit(1)
            try:
                self._take(kind, content)
            except BaseException as error:
                self._queue.put(("failed", error))
                raise

    def _take(self, kind: str, content: Any) -> None:
        if kind == "items":
            for item in content:
                began_s = time.monotonic()
                batch = self._batches.fetch(item.number, pass_number=item.pass_number)
                self._queue.put(("item", (item, batch, began_s)))
        elif kind == "ask":
            self.asked = content
            self.put("wake")
        elif kind == "go":
            self.may_go.set()
        else:
            self._queue.put((kind, content))
