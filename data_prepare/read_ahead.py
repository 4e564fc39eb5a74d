"""Read ahead: each loader worker reads the bytes of its batches to come, in a thread of its own.

The sampler tells a worker, with a request, of a chunk of the requests that will follow for it; the
worker's thread reads the chunk in offset order, neighbours together. Content and order of batches
are the same with and without: what has not been read ahead is read when it is asked for.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from data_prepare.reading import Fetched

if TYPE_CHECKING:
    from data_prepare.batch import BatchRequest

READ_AHEAD_BYTES = 32 * 1024 * 1024
_FIRST_SHARE = 16


class AheadSampler(Sampler[Any]):
    """Requests of a cursor, each with those to come for the same worker that are new to it.

    Relies on PyTorch's loader to hand out requests round robin; were it otherwise, a worker would
    read in vain, and batches would still be right.

    Arguments
    ---------
    requests : Sampler[Any]
        The cursor.
    num_workers : int
        Loader worker processes.
    num_bytes : int
        Most that a worker reads ahead; 0 for nothing. It begins with a sixteenth of it.

    Raises
    ------
    ValueError
        If `num_bytes` is negative.
    """

    def __init__(self, requests: Sampler[Any], *, num_workers: int, num_bytes: int):
        if num_bytes < 0:
            raise ValueError(f"loader: read_ahead_bytes is {num_bytes}; expected >= 0.")
        self.requests = requests
        self.num_workers = max(1, num_workers)
        self.num_bytes = num_bytes
        self._num_runs = 0

    def __len__(self) -> int:
        return len(self.requests)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator["BatchRequest"]:
        if self.num_bytes == 0:
            yield from self.requests
            return
        self._num_runs += 1
        coming = _Coming(iter(self.requests), run=self._num_runs)
        windows = [
            _Window(number, self.num_workers, self.num_bytes) for number in range(self.num_workers)
        ]
        number = 0
        while (request := coming.get(number)) is not None:
            ahead = windows[number % self.num_workers].move(request, coming)
            coming.drop(number)
            yield replace(request, ahead=tuple(ahead))
            number += 1


class _Coming:
    """Requests by their number, made as late as possible."""

    def __init__(self, requests: Iterator["BatchRequest"], *, run: int):
        self._requests = requests
        self._run = run
        self._known: dict[int, BatchRequest] = {}
        self._count = 0

    def get(self, number: int) -> "BatchRequest | None":
        while self._count <= number:
            request = next(self._requests, None)
            if request is None:
                return None
            self._known[self._count] = replace(request, number=self._count, run=self._run)
            self._count += 1
        return self._known[number]

    def drop(self, number: int) -> None:
        del self._known[number]


class _Window:
    """What one worker has been told of: requests up to a number, bytes of those still to come."""

    def __init__(self, first: int, step: int, num_bytes: int):
        self._next = first
        self._step = step
        self._bytes = 0
        self._max_bytes = num_bytes
        self._limit = max(1, num_bytes // _FIRST_SHARE)

    def move(self, request: "BatchRequest", coming: _Coming) -> list["BatchRequest"]:
        """Note that the worker is asked for a request; return what it shall be told with it."""
        if request.number < self._next:
            self._bytes -= _num_bytes(request)
        else:
            self._next = request.number + self._step
        if self._bytes > self._limit // 2:
            return []
        told = []
        while (more := coming.get(self._next)) is not None:
            if self._bytes + _num_bytes(more) > self._limit:
                break
            told.append(more)
            self._bytes += _num_bytes(more)
            self._next += self._step
        self._limit = min(self._max_bytes, 2 * self._limit)
        return told


def _num_bytes(request: "BatchRequest") -> int:
    return int(request.rows["num_bytes"].sum(dtype=np.int64))


class ReadAhead:
    """Reads in a thread what has been announced; starts anew when pickled or forked.

    Arguments
    ---------
    fetch : Callable[[NDArray[np.void]], Fetched]
        Reads the bytes of some rows.
    """

    def __init__(self, fetch: Callable[[NDArray[np.void]], Fetched]):
        self._fetch = fetch
        self._process = 0
        self._run = 0
        self._chunks: dict[int, _Chunk] = {}
        self._queue: SimpleQueue[_Chunk | None] = SimpleQueue()

    def __reduce__(self) -> tuple[Any, ...]:
        return ReadAhead, (self._fetch,)

    def __del__(self) -> None:
        if self.__dict__.get("_process") == os.getpid():
            self._queue.put(None)

    def announce(self, requests: Sequence["BatchRequest"]) -> None:
        """Begin to read requests to come, all of one iteration."""
        if not requests:
            return
        if self._process != os.getpid():
            self._start()
        if self._run != requests[0].run:
            self._forget(requests[0].run)
        chunk = _Chunk(requests)
        self._chunks.update(dict.fromkeys((request.number for request in requests), chunk))
        self._queue.put(chunk)

    def take(self, request: "BatchRequest") -> Fetched | None:
        """Return the bytes of a request once they are there; None if they have to be read."""
        if self._process != os.getpid() or self._run != request.run:
            return None
        chunk = self._chunks.pop(request.number, None)
        return chunk.take(request.number) if chunk is not None else None

    def _start(self) -> None:
        self._process = os.getpid()
        self._chunks = {}
        self._queue = SimpleQueue()
        # The thread knows neither this object nor its loader, so that these can end.
        threading.Thread(
            target=_work, args=(self._queue, self._fetch), name="read-ahead", daemon=True
        ).start()

    def _forget(self, run: int) -> None:
        """Drop what is left of an iteration that was given up."""
        for chunk in self._chunks.values():
            chunk.is_wanted = False
        self._chunks = {}
        self._run = run


class _Chunk:
    """Requests that are read together."""

    def __init__(self, requests: Sequence["BatchRequest"]):
        self.is_wanted = True
        self._rows = {request.number: request.rows for request in requests}
        self._found: dict[int, Fetched] = {}
        self._error: Exception | None = None
        self._is_done = threading.Event()

    def read(self, fetch: Callable[[NDArray[np.void]], Fetched]) -> None:
        """Read all; called in the thread."""
        try:
            if self.is_wanted:
                self._found = self._split(fetch(np.concatenate(list(self._rows.values()))))
        except OSError:
            # Each request is read by itself then, and the one concerned meets the error.
            self._found = {}
        except Exception as error:  # noqa: BLE001 - reason: raised again where the bytes are wanted
            self._error = error
        finally:
            self._is_done.set()

    def take(self, number: int) -> Fetched | None:
        """Wait for the bytes of one request and let go of them."""
        self._is_done.wait()
        if self._error is not None:
            raise self._error
        return self._found.pop(number, None)

    def _split(self, fetched: Fetched) -> dict[int, Fetched]:
        """Return the bytes of each request; those between them count for the first."""
        between = fetched.num_bytes - sum(map(len, fetched.pairs))
        found, first = {}, 0
        for number, rows in self._rows.items():
            pairs = fetched.pairs[first : first + len(rows)]
            found[number] = Fetched(pairs, sum(map(len, pairs)) + between)
            first, between = first + len(rows), 0
        return found


def _work(queue: "SimpleQueue[_Chunk | None]", fetch: Callable[[Any], Fetched]) -> None:
    while (chunk := queue.get()) is not None:
        chunk.read(fetch)
        del chunk  # Its bytes belong to the batches only.
