"""DDP over nodes of their own networks: one is cut off in mid-epoch, the others go on exactly."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from speechbrain.core import INTRA_EPOCH_CKPT_FLAG

from tests.cluster.namespaces import Node, missing, nodes
from tests.conftest import ROOT
from tests.integration.commands import SMALL, checkpoints, log_rows, run_json, train_command

pytestmark = [
    pytest.mark.network,
    pytest.mark.multiproc,
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]
LIMIT_S, EPOCHS, TIMEOUT_S = 300.0, 6, 8.0


def start(node: Node, head: Node, output: Path, **options: Any) -> Any:
    """Start torchrun's agent of a node, with one rank."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nnodes=1:3", "--nproc_per_node=1"]
    launcher += ["--rdzv_backend=c10d", f"--rdzv_endpoint={head.address}:29431", "--rdzv_id=test"]
    launcher += [f"--local_addr={node.address}", "--max_restarts=3", "--monitor_interval=0.5"]
    launcher += ["--rdzv_conf=last_call_timeout=5,keep_alive_interval=1,keep_alive_max_attempt=3"]
    launcher[-1] += f",join_timeout=120,read_timeout=10,is_host={int(node is head)}"
    words = train_command("hparams/train_ddp.yaml", output, **options)[1:]
    said = (output.parent / f"{node.name}.txt").open("wb")
    command = ["env", "GLOO_SOCKET_IFNAME=eth0", "OMP_NUM_THREADS=1", *launcher, *words]
    return subprocess.Popen(node.command(*command), cwd=ROOT, stdout=said, stderr=said)


def wait_until(is_so: Any, output: Path) -> None:
    end = time.monotonic() + LIMIT_S
    while not is_so():
        assert time.monotonic() < end, said_in(output)
        time.sleep(0.2)


def is_in_mid_epoch(output: Path) -> bool:
    """Whether the newest checkpoint was saved within an epoch."""
    try:
        return INTRA_EPOCH_CKPT_FLAG in (checkpoints(output)[-1] / "CKPT.yaml").read_text()
    except (IndexError, FileNotFoundError):  # none yet, or it was just replaced by a newer one
        return False


def said_in(output: Path) -> str:
    return "\n".join(path.read_text()[-3000:] for path in sorted(output.parent.glob("n*.txt")))


def test_node_that_is_cut_off_loses_and_repeats_no_utterance(work, tmp_path):
    options = {**SMALL, "work_folder": work, "num_epochs": EPOCHS, "noprogressbar": True}
    options |= {"ckpt_interval_minutes": 0, "ckpt_interval_steps": 1}
    options |= {"distributed_timeout_s": TIMEOUT_S, "straggler": 0, "straggler_share": 0.8}
    output = tmp_path / "run"
    with nodes(3) as (head, second, lost):
        agents = {node: start(node, head, output, **options) for node in (head, second, lost)}
        try:
            wait_until((output / "train_log.jsonl").is_file, output)
            wait_until(lambda: not is_in_mid_epoch(output), output)
            wait_until(lambda: is_in_mid_epoch(output), output)  # the first of its epoch
            lost.cut_off()
            # No update is possible without it: the others go on from what is saved now.
            time.sleep(1.0)
            assert is_in_mid_epoch(output)
            for node in (head, second):
                assert agents[node].wait(LIMIT_S) == 0, said_in(output)
            # Its rank has ended with an error; its agent may go on asking for the others.
            said = (tmp_path / f"{lost.name}.txt").read_text()
            assert "Timed out" in said or "Application timeout" in said
        finally:
            for agent in agents.values():
                agent.kill()
                agent.wait()
    record = run_json(output)
    num = record["train_data"]["num_utterances"]
    assert record["world_size"] == 2
    assert record["utterances_trained"] == EPOCHS * num
    rows = {row["epoch"]: row["utterances"] for row in log_rows(output)}
    assert rows == {epoch: num * epoch for epoch in range(1, EPOCHS + 1)}
    told = [(tmp_path / f"{node.name}.txt").read_text() for node in (head, second)]
    assert all("Timed out waiting" in said or "Connection closed" in said for said in told)
