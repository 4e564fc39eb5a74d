"""Jobs of a cluster: sent by slurm/submit.py, waited for, looked at."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT

ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY")


@dataclass(frozen=True)
class Cluster:
    """A running cluster.

    Arguments
    ---------
    folder : Path
        Of its logs; jobs write theirs into ``logs`` there.
    environment : dict[str, str]
        In which Slurm's commands find it.
    """

    folder: Path
    environment: dict[str, str]

    def call(self, *words: str, **settings: str) -> str:
        """Run a command; return what it printed."""
        # One thread, as the commands beside which the jobs' results are compared have.
        own = {"PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
        environment = {**self.environment, **own, **settings}
        done = subprocess.run(
            words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def submit(self, *words: str, **settings: str) -> list[str]:
        """Send by slurm/submit.py; return the numbers of the jobs."""
        own, rest = list(words), []
        if "--" in own:
            own, rest = own[: own.index("--")], own[own.index("--") :]
        own += ["--logs", str(self.folder / "logs")]
        said = self.call(sys.executable, "slurm/submit.py", *own, *rest, **settings)
        return [line.split()[1] for line in said.splitlines() if line.startswith("job ")]

    def states(self, job: str) -> dict[str, str]:
        """Return the state of a job, or of each task of an array, by number."""
        found = {}
        for record in self.call("scontrol", "-o", "show", "job", job).splitlines():
            fields = dict(word.split("=", 1) for word in record.split() if "=" in word)
            found[fields["JobId"]] = fields["JobState"]
        return found

    def restarts(self, job: str) -> int:
        """Return how often a job went back to the queue."""
        record = self.call("scontrol", "-o", "show", "job", job)
        return int(record.split("Restarts=")[1].split()[0])

    def wait(self, job: str, *, limit_s: float = 400.0) -> dict[str, str]:
        """Wait until a job and all its tasks have ended; return the states."""
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            states = self.states(job)
            if all(state in ENDED for state in states.values()):
                return states
            time.sleep(0.5)
        raise AssertionError(
            f"job {job} has not ended after {limit_s:g} s: {states}\n{self.said()}"
        )

    def said(self) -> str:
        """Return the ends of what the jobs have said."""
        paths = sorted((self.folder / "logs").glob("*.out"))
        return "\n".join(f"== {path.name}\n{path.read_text()[-3000:]}" for path in paths)


def processes_of(job: str) -> list[int]:
    """Return the processes that a job has started and that still live, wherever they moved to."""
    mark, found = f"SLURM_JOB_ID={job}".encode(), []
    for path in Path("/proc").iterdir():
        if path.name.isdigit() and int(path.name) != os.getpid():
            try:
                words = (path / "environ").read_bytes().split(b"\0")
                is_zombie = (path / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
            except OSError:
                continue
            if mark in words and not is_zombie:
                found.append(int(path.name))
    return found
