"""Processes that a comparison starts; none of them outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

GRACE_S = 30.0
"""From asking a process to end until it is killed: torchrun ends its own in this time."""


def call(command: Sequence[str], *, cwd: Path, said: Path, environment: Mapping[str, str]) -> int:
    """Run a command to its end; if this process is asked to end, so is the command first.

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
    before = signal.signal(signal.SIGTERM, _leave)
    try:
        with said.open("a", encoding="utf-8") as file:
            child = subprocess.Popen(
                command,
                cwd=cwd,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                start_new_session=True,  # its own group, so that all of it can be ended
            )
        try:
            return child.wait()
        except BaseException:
            _end(child)
            raise
    finally:
        signal.signal(signal.SIGTERM, before)


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
