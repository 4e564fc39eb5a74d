"""However the parent ends, its workers end too."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.multiproc
LIMIT_S = 120.0
INTERRUPT_S = 10.0  # from Ctrl-C to the end of the last process, on a machine that is not busy


def is_alive(pid: int) -> bool:
    try:
        state = (ROOT / f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def children(pid: int) -> list[int]:
    text = (ROOT / f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


def heed_interrupts() -> None:
    """Undo what a shell does to jobs in the background: they ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize(
    ("number", "method", "limit_s"),
    [
        (signal.SIGKILL, "forkserver", LIMIT_S),
        (signal.SIGKILL, "spawn", LIMIT_S),
        (signal.SIGINT, "forkserver", LIMIT_S),
        pytest.param(signal.SIGINT, "forkserver", INTERRUPT_S, marks=pytest.mark.slow),
        (signal.SIGTERM, "forkserver", LIMIT_S),
    ],
)
def test_workers_end_with_their_parent(number, method, limit_s):
    command = [sys.executable, "-m", "tests.unit.hogwild.endless", method]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        process_group=0,
        preexec_fn=heed_interrupts,
    ) as parent:
        try:
            assert parent.stdout is not None
            workers = [int(word) for word in parent.stdout.readline().split()]
            helpers = children(parent.pid)
            assert len(workers) == 2
            assert all(map(is_alive, workers))
            end = time.monotonic() + limit_s
            if number == signal.SIGINT:
                os.killpg(parent.pid, number)  # as a terminal does it
            else:
                parent.send_signal(number)
            assert parent.wait(limit_s) != 0
            while any(map(is_alive, workers + helpers)):
                assert time.monotonic() < end, "processes live on"
                time.sleep(0.01)
        finally:
            os.killpg(parent.pid, signal.SIGKILL) if parent.poll() is None else None
