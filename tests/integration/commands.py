"""Runs the project's commands as a user does: in processes of their own, from its folder."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tests.conftest import ROOT

TIMEOUT_S = 240.0

CORPUS = {"corpus.hours": 0.05, "corpus.num_jobs": 1, "vocab_size": 80}
"""Three minutes of calls: 32 utterances to train on, 3 to validate, 5 to test."""

SMALL = {
    **CORPUS,
    "max_batch_s": 10.0,
    "model.rnn_neurons": 32,
    "model.dnn_neurons": 32,
    "model.embedding_size": 16,
    "model.decoder_neurons": 32,
    "model.attention_size": 32,
    "model.max_decode_ratio": 0.5,
    "model.beam_size": 2,
}
"""A model and batches for runs of a few seconds."""


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """All that it wrote; the log goes to standard output too."""
        return self.out + self.err

    def check(self) -> "Done":
        """Fail with what the command said unless it ended well."""
        assert self.code == 0, f"exit code {self.code}:\n{self.said[-5000:]}"
        return self


def train_command(
    run_file: str, output_folder: Path, *, processes: int = 1, **options: Any
) -> list[str]:
    """Return the command line of a run; options are the flags that follow, None becomes null."""
    start = [sys.executable]
    if processes > 1:
        start += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    words = [*start, "train.py", run_file, "--output_folder", str(output_folder)]
    for key, value in options.items():
        words += [f"--{key}", "null" if value is None else str(value)]
    return words


def run(command: list[str], *, timeout_s: float = TIMEOUT_S) -> Done:
    """Run a command to its end; one that hangs is killed with its children."""
    with started(command) as process:
        out, err = process.communicate(timeout=timeout_s)
    return Done(process.returncode, out, err)


def kill_when(command: list[str], is_time: Callable[[], bool]) -> int:
    """Kill a command and its children by SIGKILL as soon as it is time; return its exit code."""
    with started(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        end = time.monotonic() + TIMEOUT_S
        while process.poll() is None and not is_time():
            assert time.monotonic() < end, "waited in vain for the moment to kill the command"
            time.sleep(0.005)
    return process.returncode


@contextmanager
def started(command: list[str], **pipes: Any) -> Iterator[subprocess.Popen[str]]:
    """Start a command in a session of its own, which the end of the block kills as a whole."""
    pipes = pipes or {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    own = {"OMP_NUM_THREADS": "1", "TQDM_MININTERVAL": "5"}
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **own}, text=True, start_new_session=True, **pipes
    )
    try:
        yield process
    finally:
        _kill_session(process)


def _kill_session(process: subprocess.Popen[str]) -> None:
    try:
        os.killpg(process.pid, 9)
    except ProcessLookupError:  # all of them have ended
        return
    finally:
        process.wait()


def run_json(output_folder: Path) -> dict[str, Any]:
    """Return the record of a run."""
    record: dict[str, Any] = json.loads((output_folder / "run.json").read_text(encoding="utf-8"))
    return record


def log_rows(output_folder: Path, stage: str = "valid") -> list[dict[str, Any]]:
    """Return what the run's log says of a stage, one entry for each time."""
    lines = (output_folder / "train_log.jsonl").read_text(encoding="utf-8").splitlines()
    return [row for row in map(json.loads, lines) if row["stage"] == stage]


def checkpoints(output_folder: Path) -> list[Path]:
    """Return the finished checkpoints of a run, oldest first."""
    return sorted((output_folder / "checkpoints").glob("CKPT+*"))


def parameters(output_folder: Path, name: str = "model") -> dict[str, Any]:
    """Return a part of the newest checkpoint, such as the model's tensors by name."""
    state: dict[str, Any] = torch.load(
        checkpoints(output_folder)[-1] / f"{name}.ckpt", weights_only=True
    )
    return state
