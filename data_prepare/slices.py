"""Several tasks that prepare one corpus, such as those of a Slurm array.

They share the corpus's work folder. Steps that one of them must do for all (the plan, the index)
are done under a lock on the file `ledger`, in which they also note what they have done: a file
that is locked is read afresh on a network file system, while names in a folder may come late.
While a task makes its shards it holds a lock of its own, on `slice-I-of-N`. Locks of killed
tasks are free again.
"""

import json
import logging
import os
import platform
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Self, TypeVar

from data_prepare.shared_folder import try_lock

logger = logging.getLogger(__name__)

Item = TypeVar("Item")

LEDGER_NAME = "ledger"
_FORM = re.compile(r"(\d{1,6})/(\d{1,6})")
_POLL_S = 0.2
_TELL_S = 60.0


@dataclass(frozen=True)
class Slice:
    """A part of the shards.

    Arguments
    ---------
    number : int
        Which part, from 0.
    count : int
        Parts in all.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "I/N", such as "0/8".

        Arguments
        ---------
        text : str
            Number and count.

        Returns
        -------
        Slice
            The part.

        Raises
        ------
        ValueError
            If it is something else.
        """
        match = _FORM.fullmatch(text)
        if match is None or int(match[1]) >= int(match[2]):
            raise ValueError(f"slice is {text!r}; expected I/N with I from 0 to N - 1, such as 0/8")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def take(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return the items of this part: every `count`-th one."""
        return items[self.number :: self.count]


@dataclass
class Ledger:
    """What the tasks have done so far.

    Arguments
    ---------
    has_plan : bool
        The plan is there, even if it is not to be seen yet.
    count : int
        Parts in which the shards are made; 0 if no slice has run.
    done : list[int]
        Numbers of the parts whose shards are there.
    is_finished : bool
        The corpus is finished, even if it is not to be seen yet.
    holder : str
        Who has the lock, and what for.
    """

    has_plan: bool = False
    count: int = 0
    done: list[int] = field(default_factory=list)
    is_finished: bool = False
    holder: str = ""

    def clear(self) -> None:
        """Forget everything: there is no plan."""
        self.has_plan, self.count, self.done, self.is_finished = False, 0, [], False

    def note_done(self, part: Slice) -> bool:
        """Note that a part is there; tells whether all are."""
        self.done = sorted({*self.done, part.number})
        return len(self.done) == self.count


@contextmanager
def common_step(work: Path, title: str) -> Iterator[Ledger]:
    """Wait for the others, then be alone; what is changed in the ledger is kept.

    Arguments
    ---------
    work : Path
        The work folder.
    title : str
        What is done, for those who wait.

    Yields
    ------
    Ledger
        As the last one left it.
    """
    with (work / LEDGER_NAME).open("a+b", buffering=0) as file:
        _wait_for_lock(file)
        ledger = _read(file)
        ledger.holder = f"process {os.getpid()} on {platform.node()}, which {title}"
        _write(file, ledger)
        try:
            yield ledger
        finally:
            ledger.holder = ""
            _write(file, ledger)


@contextmanager
def running(work: Path, part: Slice, ledger: Ledger) -> Iterator[None]:
    """Hold the lock of a part; entered within `common_step`.

    Arguments
    ---------
    work : Path
        The work folder.
    part : Slice
        The part to be made.
    ledger : Ledger
        Of the step.

    Yields
    ------
    None
        While the lock is held.

    Raises
    ------
    RuntimeError
        If this part, or one of a division into another number of parts, is being made.
    """
    if ledger.count != part.count:
        _check_none_runs(work, part)
        ledger.count, ledger.done = part.count, []
    with (work / f"slice-{part.number}-of-{part.count}").open("a+") as file:
        if not try_lock(file):
            raise RuntimeError(
                f"prepare {work.parent}: slice {part} is being made by another process; expected "
                "each slice once; wait for it."
            )
        yield


def forget_slices(work: Path) -> None:
    """Delete the locks of slices, when the corpus is finished."""
    for path in work.glob("slice-*"):
        path.unlink(missing_ok=True)


def _check_none_runs(work: Path, part: Slice) -> None:
    for path in sorted(work.glob("slice-*")):
        with path.open("a+") as file:
            if not try_lock(file):
                raise RuntimeError(
                    f"prepare {work.parent}: {path.name} is being made; expected slices of "
                    f"{part.count} alone; wait for it, or give the same count."
                )


def _wait_for_lock(file: IO[bytes]) -> None:
    started_s = told_s = time.monotonic()
    has_told = False
    while not try_lock(file):
        now_s = time.monotonic()
        if not has_told or now_s - told_s > _TELL_S:
            holder = _read(file).holder or "another process"
            logger.info("prepare: waits for %s (%.0f s so far)", holder, now_s - started_s)
            has_told, told_s = True, now_s
        time.sleep(_POLL_S)


def _read(file: IO[bytes]) -> Ledger:
    file.seek(0)
    try:
        return Ledger(**json.loads(file.read()))
    except ValueError:  # new, or its writer was killed
        return Ledger()


def _write(file: IO[bytes], ledger: Ledger) -> None:
    file.truncate(0)
    file.write(json.dumps(asdict(ledger)).encode())
    os.fsync(file.fileno())
