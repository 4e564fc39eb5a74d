"""Processes that a comparison starts; none of them outlives it."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)
GRACE_S = 30.0
"""From asking a process to end until it is killed: torchrun ends its own in this time."""


def call(command: Sequence[str], *, cwd: Path, said: Path, environment: Mapping[str, str]) -> int:
    """Run a command to its end; if this process is asked to end, so is the command first.

    Should this process be killed, the kernel asks the command to end.

    Arguments
    ---------
    command : Sequence[str]
        The program and its arguments.
    cwd : Path
        Where it runs.
    said : Path
        File that its output is appended to.
    environment : Mapping[str, str]
        Variables.

    Returns
    -------
    int
        Exit code.
    """
    asked = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) != signal.SIG_IGN]
    before = {number: signal.signal(number, _leave) for number in asked}
    try:
        with said.open("a", encoding="utf-8") as file:
            child = subprocess.Popen(
                command,
                cwd=cwd,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                start_new_session=True,  # its own group, so that all of it can be ended
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - one call of the kernel, no locks
            )
        try:
            return child.wait()
        except BaseException:
            _end(child)
            raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_with_parent() -> None:
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    del frame
    raise SystemExit(128 + number)


def _end(child: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        child.wait(GRACE_S)
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
