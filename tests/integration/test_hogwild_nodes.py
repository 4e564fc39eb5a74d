"""The main job on two nodes: an agent of torchrun and a parent with two workers on each."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import ROOT
from tests.integration.commands import (
    SMALL,
    checkpoints,
    log_rows,
    parameters,
    run_json,
    started,
    train_command,
)
from tests.integration.conftest import MainJob

pytestmark = [pytest.mark.multiproc, pytest.mark.slow]
LIMIT_S, LOST_S = 600.0, 120.0
NUM_UTTERANCES = 32


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def two_agents(work: Path, output: Path, **options: Any) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Start the agents of two nodes; the end of the block kills what is left of them."""
    given = {**SMALL, "work_folder": work, "noprogressbar": True, "hogwild.average_every": 3}
    words = train_command("hparams/train_hogwild.yaml", output, **given, **options)[2:]
    port = free_port()
    with ExitStack() as stack:
        agents = []
        for node in range(2):
            launcher = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2"]
            launcher += [f"--node_rank={node}", "--nproc_per_node=1", "--monitor_interval=0.5"]
            launcher += ["--master_addr=127.0.0.1", f"--master_port={port}"]
            said = stack.enter_context((output.parent / f"node-{node}.txt").open("ab"))
            command = [*launcher, "train_hogwild.py", *words]
            agents.append(stack.enter_context(started(command, stdout=said, stderr=said)))
        try:
            yield agents
        finally:
            for agent in agents:  # parents have sessions of their own
                kill(children(agent.pid))


def children(pid: int) -> list[int]:
    try:
        text = (ROOT / f"/proc/{pid}/task/{pid}/children").read_text()
    except FileNotFoundError:  # it has ended
        return []
    return [int(word) for word in text.split()]


def kill(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def said_in(output: Path) -> str:
    return "\n".join(path.read_text()[-4000:] for path in sorted(output.parent.glob("node-*.txt")))


def train_to_the_end(work: Path, output: Path, **options: Any) -> dict[str, Any]:
    with two_agents(work, output, **options) as agents:
        for agent in agents:
            assert agent.wait(LIMIT_S) == 0, said_in(output)
    return run_json(output)


def test_two_nodes_train_test_and_resume_the_main_job(main_job: MainJob, tmp_path):
    output = tmp_path / "run"
    record = train_to_the_end(main_job.work, output, num_epochs=2)
    assert record["world_size"] == 2
    assert record["utterances_trained"] == 2 * NUM_UTTERANCES
    assert record["results"]["test"]["utterances"] == 5
    assert record["updates"] > sum(record["hogwild"]["updates_by_worker"]) > 0  # of node 0 alone
    assert [row["epoch"] for row in log_rows(output)] == [1, 2]
    state = torch.load(checkpoints(output)[-1] / "hogwild.ckpt", weights_only=True)
    assert len(state["nodes"]) == 2
    before = parameters(output)
    record = train_to_the_end(main_job.work, output, num_epochs=3)
    assert record["utterances_trained"] == 3 * NUM_UTTERANCES
    assert [row["epoch"] for row in log_rows(output)] == [1, 2, 3]
    after = parameters(output)
    assert any(not torch.equal(value, before[name]) for name, value in after.items())


@pytest.mark.parametrize("lost", [1, 0])
def test_lost_node_ends_the_other_and_the_run_goes_on_from_its_checkpoint(
    main_job: MainJob, tmp_path, lost
):
    output = tmp_path / "run"
    with two_agents(main_job.work, output, num_epochs=10_000) as agents:
        end = time.monotonic() + LIMIT_S
        while not (output / "checkpoints").is_dir() or len(checkpoints(output)) == 0:
            assert time.monotonic() < end, said_in(output)
            assert agents[0].poll() is None, said_in(output)
            time.sleep(0.05)
        (parent,) = children(agents[lost].pid)
        kill([agents[lost].pid, parent])
        survivor = agents[1 - lost]
        assert survivor.wait(LOST_S) != 0, said_in(output)
    num_epochs = log_rows(output)[-1]["epoch"] + 1
    record = train_to_the_end(main_job.work, output, num_epochs=num_epochs)
    assert log_rows(output)[-1]["epoch"] == num_epochs
    # A batch in hand when the checkpoint was taken may be counted twice.
    more = record["utterances_trained"] - num_epochs * NUM_UTTERANCES
    assert 0 <= more < NUM_UTTERANCES
