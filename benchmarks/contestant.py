"""A contestant of a benchmark lives in a process of its own and is asked for one pass at a time.

The benchmark starts `python -m MODULE NAME ARGUMENTS...`; that program calls `serve` with a
function which does what a request says and returns figures. Requests and answers are lines of
JSON; a contestant that is not asked waits and uses no processor time.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent


class Contestant:
    """A running contestant; use it in a with block.

    Arguments
    ---------
    module : str
        Program, such as "benchmarks.loading_peers".
    arguments : Sequence[str]
        Of its command line.
    """

    def __init__(self, module: str, arguments: Sequence[str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @property
    def pid(self) -> int:
        """Its process."""
        return self.process.pid

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request and wait for its figures."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(
                f"contestant {self.process.args!r} ended with {self.process.wait()} at {request}; "
                "expected an answer; see its messages above."
            )
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        if error is not None:
            self.process.terminate()
        self.process.wait()


def serve(answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Answer requests until there are no more; what libraries print goes to stderr."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as channel:
        os.dup2(2, 1)
        for line in sys.stdin:
            channel.write(json.dumps(answer(json.loads(line))) + "\n")
            channel.flush()


class Clocks:
    """Wall clock and processor time of this process and the children it has waited for."""

    def __init__(self) -> None:
        self._start_s, self._start_cpu_s = time.perf_counter(), _cpu_s()

    def read(self) -> dict[str, float]:
        """Return the seconds since the start."""
        return {
            "wall_s": time.perf_counter() - self._start_s,
            "cpu_s": _cpu_s() - self._start_cpu_s,
        }


def _cpu_s() -> float:
    return sum(os.times()[:4])
