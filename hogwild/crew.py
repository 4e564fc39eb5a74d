"""The worker processes as the parent sees them: started, watched, started again, ended."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from multiprocessing import connection
from multiprocessing.connection import Connection
from typing import Any

from hogwild.groups import Groups
from hogwild.options import HogwildOptions
from hogwild.worker import WorkerStart, work
from hogwild.worker_log import log_again

GRACE_S = 5.0
PRELOADED = ("torch", "torch._dynamo", "speechbrain", "hogwild.worker")
"""What every worker imports; optimizers import torch._dynamo when the first is made."""


class WorkerError(RuntimeError):
    """A worker raised, died too often, or hung."""


class Member:
    """One worker and its process.

    Arguments
    ---------
    number : int
        The worker's.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.incarnation = -1
        self.process: Any = None
        self.pipe: Connection
        self.groups = Groups()
        self.is_ready = False
        self.progress_at_s = 0.0
        self._num_computed = 0

    def begin(self, context: Any, start: WorkerStart) -> None:
        """Start the process."""
        self.incarnation = start.incarnation
        self.is_ready = False
        self.groups = Groups()
        self.pipe, theirs = context.Pipe()
        name = f"hogwild-{self.number}"
        # A daemon: should this process end without a word, Python ends it.
        self.process = context.Process(target=work, args=(start, theirs), name=name, daemon=True)
        self.process.start()
        theirs.close()
        self.note_progress()

    def note_progress(self) -> None:
        """Remember that the worker was alive just now."""
        self.progress_at_s = time.monotonic()

    def note_computed(self, num_batches: int) -> None:
        """Note the worker's count of computed micro-batches: one more is progress."""
        if num_batches != self._num_computed:
            self._num_computed = num_batches
            self.note_progress()

    def tell(self, kind: str, content: Any = None) -> None:
        """Send a message; one that has just died is found out by its sentinel."""
        try:
            self.pipe.send((kind, content))
        except OSError:
            return

    def heard(self) -> list[tuple[str, Any]]:
        """Return the messages that have come; what the worker logs is logged here."""
        messages = []
        try:
            while self.pipe.poll():
                kind, content = self.pipe.recv()
                if kind == "log":
                    log_again(self.number, content)
                else:
                    messages.append((kind, content))
        except (EOFError, OSError):  # it died: its sentinel tells
            pass
        return messages


class Crew:
    """All workers of one parent.

    Arguments
    ---------
    make_start : Callable[[int, int], WorkerStart]
        From a worker's number and its incarnation to what it is given.
    num_workers : int
        Workers.
    max_restarts : int
        How many may die by a signal.
    method : str
        "forkserver" or "spawn".
    preload : Sequence[str]
        Modules that a fork server imports once for all workers.
    """

    def __init__(
        self,
        make_start: Callable[[int, int], WorkerStart],
        *,
        num_workers: int,
        max_restarts: int,
        method: str,
        preload: Sequence[str] = (),
    ) -> None:
        self._make_start = make_start
        self._context: Any = multiprocessing.get_context(method)
        if method == "forkserver":
            self._context.set_forkserver_preload([*PRELOADED, *preload])
        self.max_restarts = max_restarts
        self.num_restarts = 0
        self.members = [Member(number) for number in range(num_workers)]

    def begin(self) -> None:
        """Start all workers."""
        for member in self.members:
            member.begin(self._context, self._make_start(member.number, 0))

    def wait(self, *others: Any, timeout_s: float | None) -> list[Any]:
        """Wait for a message or the end of a worker, or for another object; return what is ready.

        A member is in the list once, whether it has spoken or died.
        """
        owners: dict[Any, Any] = {other: other for other in others}
        for member in self.members:
            owners |= {member.pipe: member, member.process.sentinel: member}
        ready = connection.wait(list(owners), timeout=timeout_s)
        return list(dict.fromkeys(owners[thing] for thing in ready))

    def is_dead(self, member: Member) -> bool:
        """Whether a worker's process has ended."""
        return bool(connection.wait([member.process.sentinel], timeout=0))

    def bury(self, member: Member) -> None:
        """Take note of a worker that has ended; an error unless it may be started again.

        Arguments
        ---------
        member : Member
            Whose process has ended.

        Raises
        ------
        WorkerError
            If it ended of its own, or workers have died too often.
        """
        member.process.join()
        code = member.process.exitcode
        where = f"hogwild: worker {member.number}"
        is_killed = code < 0 or code == 255  # 255: the fork server was killed with it
        if not is_killed:
            raise WorkerError(f"{where}: ended with code {code}; expected it to wait for a word.")
        self.num_restarts += 1
        if self.num_restarts > self.max_restarts:
            raise WorkerError(
                f"{where}: died (code {code}), the {self.num_restarts}th death of a worker; "
                f"expected at most max_restarts = {self.max_restarts}; look at the machine's "
                "memory (dmesg), then start the run again: it goes on from its checkpoint."
            )

    def restart(self, member: Member) -> None:
        """Start a worker again."""
        member.process.close()
        member.pipe.close()
        member.begin(self._context, self._make_start(member.number, member.incarnation + 1))

    def mind_hangs(self, options: HogwildOptions, *, is_busy: Callable[[int], Any]) -> None:
        """End a worker that has batches and finishes none for too long.

        Arguments
        ---------
        options : HogwildOptions
            The limit in seconds, and what follows.
        is_busy : Callable[[int], Any]
            Whether the worker of a number has batches.

        Raises
        ------
        WorkerError
            If ``on_timeout`` says so.
        """
        limit_s = options.worker_timeout_s
        for member in self.members if limit_s is not None else ():
            if not (member.is_ready and is_busy(member.number)):
                member.note_progress()
            elif time.monotonic() - member.progress_at_s > limit_s:  # type: ignore[operator]
                if options.on_timeout == "error":
                    raise WorkerError(
                        f"hogwild: worker {member.number} has finished no batch for {limit_s:g} s; "
                        "expected one within worker_timeout_s; look at what it does (py-spy), "
                        "raise the limit, or set on_timeout to restart."
                    )
                member.process.kill()
                member.note_progress()

    def end(self, *, is_urgent: bool) -> None:
        """End all workers: at once, or after the batch at hand; returns when all are gone."""
        begun = [member for member in self.members if member.process is not None]
        if not is_urgent:
            for member in begun:
                member.tell("stop")
            limit_s = time.monotonic() + GRACE_S
            for member in begun:
                member.process.join(max(0.0, limit_s - time.monotonic()))
        for member in begun:
            member.process.kill()
        for member in begun:
            member.process.join()
            member.heard()  # its last warnings
            member.pipe.close()
