"""Worker processes that start fast, are replaced when they die, and never outlive their parent."""

import logging
import multiprocessing
import os
import signal
import sys
import threading
import types
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent import futures
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_TRIES = 3


class WorkerDiedError(RuntimeError):
    """Each try of a piece of work ended with the death of the process that had it."""


class SerialExecutor(Executor):
    """An executor that runs each call at once in this process."""

    num_deaths = 0

    def submit(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> "Future[Result]":
        """Run the call; its result or its exception is in the future."""
        future: Future[Result] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


class ProcessWorkers(Executor):
    """Processes, one call each at a time, so that a dead one tells which call it died of.

    A call whose process dies (killed, out of memory, a crash in a decoder) is made again by a
    new process, `MAX_TRIES` times in all; then its future holds `WorkerDiedError`. Other calls take
    no notice. Calls must be such that doing them twice does no harm.

    Arguments
    ---------
    num_workers : int
        Processes; each starts with its first call.
    """

    def __init__(self, num_workers: int) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._lifeline, self._end = self._context.Pipe(duplex=False)
        self._threads = ThreadPoolExecutor(num_workers, thread_name_prefix="worker")
        self._own = threading.local()
        self._pools: set[ProcessPoolExecutor] = set()
        self._lock = threading.Lock()
        self._is_closing = False
        self.num_deaths = 0

    def submit(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> "Future[Result]":
        """Have a call of an importable function made."""
        return self._threads.submit(self._run, fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes when they have done what was submitted."""
        self._threads.shutdown(wait=wait, cancel_futures=cancel_futures)
        for pool in list(self._pools):
            pool.shutdown(wait=wait)

    def kill(self) -> None:
        """End the processes at once, whatever they are doing."""
        self._is_closing = True
        self._end.close()
        self.shutdown(cancel_futures=True)

    def _run(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Result:
        for tried in range(1, MAX_TRIES + 1):
            try:
                return self._submit(fn, *args, **kwargs).result()
            except BrokenProcessPool:
                self._drop_pool()
                if self._is_closing:
                    raise
                logger.warning(
                    "prepare: a worker process died (killed, no memory?) at %s, try %d of %d",
                    describe_call(args),
                    tried,
                    MAX_TRIES,
                )
                with self._lock:
                    self.num_deaths += 1
        raise WorkerDiedError(
            f"prepare: a worker process died (killed, or out of memory) {MAX_TRIES} times in a row "
            f"at {describe_call(args)}; expected it to finish; mend or remove what it reads, or "
            "take fewer num_jobs if memory is short, and run again: what is finished is kept."
        )

    def _submit(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> "Future[Result]":
        try:
            return self._pool().submit(fn, *args, **kwargs)
        except BrokenProcessPool:  # died while it had nothing to do: not this call's fault
            self._drop_pool()
            return self._pool().submit(fn, *args, **kwargs)

    def _pool(self) -> ProcessPoolExecutor:
        """Return this thread's process."""
        pool: ProcessPoolExecutor | None = getattr(self._own, "pool", None)
        if pool is None:
            pool = ProcessPoolExecutor(
                1, self._context, initializer=_start_worker, initargs=(self._lifeline,)
            )
            self._own.pool = pool
            with self._lock:
                self._pools.add(pool)
        return pool

    def _drop_pool(self) -> None:
        with self._lock:
            self._pools.discard(self._own.pool)
        self._own.pool = None


@contextmanager
def worker_pool(num_jobs: int) -> Iterator[SerialExecutor | ProcessWorkers]:
    """Start an executor.

    Workers are spawned, not forked (threads and CUDA of the caller stay out), and do not import
    the caller's main module: train.py brings torch and speechbrain, which workers do not need.
    A worker ends when its parent does, even if that was killed. After an error in the block
    workers finish what they are doing; after an interrupt they end at once.

    Arguments
    ---------
    num_jobs : int
        Processes; with 1 all work is done in this process.

    Yields
    ------
    Executor
        Takes functions of importable modules only; `num_deaths` of its workers so far.
    """
    if num_jobs == 1:
        yield SerialExecutor()
        return
    workers = ProcessWorkers(num_jobs)
    with _hidden_main():
        try:
            yield workers
        except Exception:  # reason: whatever the caller raised, it is raised again after the end
            workers.shutdown(cancel_futures=True)
            raise
        except BaseException:
            workers.kill()
            raise
        workers.shutdown()


def ordered_map(
    pool: Executor, function: Callable[[Item], Result], items: Iterable[Item], *, ahead: int
) -> Generator[Result]:
    """Yield results in the order of the items, with a bounded number of calls under way.

    Arguments
    ---------
    pool : Executor
        From `worker_pool`.
    function : Callable[[Item], Result]
        Taken by name by other processes.
    items : Iterable[Item]
        Read only as far as needed.
    ahead : int
        Calls that may be under way or waiting to be used, in addition to the next one.

    Yields
    ------
    object
        The function's result.
    """
    pending: deque[Future[Result]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()


def unordered_map(
    pool: Executor, function: Callable[[Item], Result], items: Iterable[Item], *, ahead: int
) -> Generator[tuple[Item, "Future[Result]"]]:
    """Yield items with their ended futures as they end, a bounded number of calls under way.

    Arguments
    ---------
    pool : Executor
        From `worker_pool`.
    function : Callable[[Item], Result]
        Taken by name by other processes.
    items : Iterable[Item]
        Read only as far as needed.
    ahead : int
        Calls that may be under way, in addition to one.

    Yields
    ------
    tuple[object, Future]
        An item, and its result or its exception.
    """
    pending: dict[Future[Result], Item] = {}
    try:
        for item in items:
            pending[pool.submit(function, item)] = item
            if len(pending) > ahead:
                yield from _take_ended(pending)
        while pending:
            yield from _take_ended(pending)
    finally:
        for future in pending:
            future.cancel()


def _take_ended(
    pending: "dict[Future[Result], Item]",
) -> Iterator[tuple[Item, "Future[Result]"]]:
    for future in futures.wait(pending, return_when=futures.FIRST_COMPLETED).done:
        yield pending.pop(future), future


def describe_call(args: tuple[Any, ...]) -> str:
    """Return the arguments of a call for a message."""
    return f"{', '.join(map(str, args)):.300}"


def _start_worker(lifeline: Connection) -> None:
    """End with the parent, or when it lets go of the lifeline; leave interrupts to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None, "this runs in worker processes only"

    def watch() -> None:
        wait([parent.sentinel, lifeline])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _hidden_main() -> Iterator[None]:
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
