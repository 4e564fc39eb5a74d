"""What a worker logs is logged by its parent, to log.txt too: it is sent on the worker's pipe."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable
from logging.handlers import QueueHandler
from multiprocessing.connection import Connection


class WorkerLog(QueueHandler):
    """Keeps the warnings and errors of all threads for the one that sends on the pipe.

    A thread that reads from the pipe must not send: with both directions full, parent and worker
    would wait for each other.

    Attributes
    ----------
    wake : Callable[[], None]
        Called by any thread when there is something to send.
    """

    def __init__(self) -> None:
        self._records: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
        super().__init__(self._records)
        self.setLevel(logging.WARNING)
        self.wake: Callable[[], None] = _nobody_waits

    def enqueue(self, record: logging.LogRecord) -> None:
        """Keep a record, whose text is complete."""
        self._records.put(record)
        self.wake()

    def send(self, pipe: Connection) -> None:
        """Send what has come as messages ("log", (level, logger's name, text))."""
        while not self._records.empty():
            record = self._records.get_nowait()
            pipe.send(("log", (record.levelno, record.name, record.getMessage())))


def _nobody_waits() -> None:
    pass


def log_again(worker: int, content: tuple[int, str, str]) -> None:
    """Log in this process what a worker has sent.

    Arguments
    ---------
    worker : int
        Its number.
    content : tuple[int, str, str]
        Level, logger's name, text.
    """
    level, name, text = content
    logging.getLogger(name).log(level, "worker %d: %s", worker, text)
