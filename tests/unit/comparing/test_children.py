"""Processes that a comparison starts end with it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from comparing.children import call
from tests.conftest import ROOT

PARENT = """
import signal, sys
from pathlib import Path
from comparing.children import call
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it,
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # and one under nohup this
sys.exit(call(sys.argv[2:], cwd=Path.cwd(), said=Path(sys.argv[1]), environment={}))
"""
CHILD = """
import subprocess, sys, time
other = subprocess.Popen(["sleep", "600"])
print(other.pid, flush=True)
time.sleep(600)
"""


def test_call_returns_the_code_and_keeps_what_was_said(tmp_path):
    said = tmp_path / "out.txt"
    for code in (0, 3):
        words = [sys.executable, "-c", f"print('code'); raise SystemExit({code})"]
        assert call(words, cwd=tmp_path, said=said, environment=os.environ) == code
    assert said.read_text() == "code\ncode\n"


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def started(said: Path, child: str) -> tuple[subprocess.Popen[bytes], int]:
    """Start a parent whose child tells a process; return the parent and that process."""
    words = [sys.executable, "-c", PARENT, str(said), sys.executable, "-c", child]
    parent = subprocess.Popen(words, cwd=ROOT, stderr=subprocess.DEVNULL)
    while not (said.is_file() and said.read_text().strip()):
        assert parent.poll() is None
        time.sleep(0.1)
    return parent, int(said.read_text())


@pytest.mark.multiproc
@pytest.mark.parametrize(
    ("number", "child"),
    [
        (signal.SIGTERM, CHILD),
        (signal.SIGINT, CHILD),
        (signal.SIGHUP, CHILD),  # a closed terminal
        (signal.SIGKILL, "import os, time; print(os.getpid(), flush=True); time.sleep(600)"),
    ],
)
def test_signal_leaves_no_orphan(tmp_path, number, child):
    parent, told = started(tmp_path / "out.txt", child)
    try:
        assert is_alive(told)
        parent.send_signal(number)
        assert parent.wait(timeout=120) != 0
    finally:
        parent.kill()
        parent.wait()
    for _ in range(100):
        if not is_alive(told):
            return
        time.sleep(0.1)
    os.kill(told, signal.SIGKILL)
    pytest.fail("what the parent started is still there")
