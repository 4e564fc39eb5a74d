"""Worker processes that start fast, keep order and never outlive their parent."""

import multiprocessing
import os
import sys
import threading
import types
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import parent_process
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class SerialExecutor(Executor):
    """An executor that runs each call at once in this process."""

    def submit(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> "Future[Result]":
        """Run the call; its result or its exception is in the future."""
        future: Future[Result] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


@contextmanager
def worker_pool(num_jobs: int) -> Iterator[Executor]:
    """Start an executor.

    Workers are spawned, not forked (threads and CUDA of the caller stay out), and do not import
    the caller's main module: train.py brings torch and speechbrain, which workers do not need.
    A worker ends when its parent does, even if that was killed.

    Arguments
    ---------
    num_jobs : int
        Processes; with 1 all work is done in this process.

    Yields
    ------
    Executor
        Takes functions of importable modules only.

    Raises
    ------
    RuntimeError
        If a worker dies.
    """
    if num_jobs == 1:
        yield SerialExecutor()
        return
    pool = ProcessPoolExecutor(
        num_jobs,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_end_with_parent,
    )
    try:
        with _hidden_main(), pool, _cancelled_on_error(pool):
            yield pool
    except BrokenProcessPool as error:
        raise RuntimeError(
            "prepare: a worker process died (killed, or out of memory); expected it to finish; "
            "run again: finished shards are kept, or take fewer num_jobs."
        ) from error


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


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None, "this runs in worker processes only"

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


@contextmanager
def _hidden_main() -> Iterator[None]:
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextmanager
def _cancelled_on_error(pool: Executor) -> Iterator[None]:
    try:
        yield
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
