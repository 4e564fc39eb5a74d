"""Two nodes on one machine: each trains asynchronously, and they average their parameters."""

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.multiproc
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]


def count_on_two_nodes(folder, epochs, fate=""):
    """Run to the end; return exit code, what was said, and what each node ended with."""
    command = [*TORCHRUN, "-m", "tests.unit.hogwild.two_nodes", str(folder), str(epochs), fate]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False
    )
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("node-*.json"))]
    return done.returncode, done.stdout + done.stderr, found


def test_two_nodes_share_the_batches_and_end_with_one_model(tmp_path):
    code, said, found = count_on_two_nodes(tmp_path, 4)
    assert code == 0, said[-3000:]
    assert found[0]["values"] == found[1]["values"]
    # Each batch was applied once per epoch by one node; the mean over two nodes is half of it.
    assert sum(found[0]["values"]) == pytest.approx(-30 * 4 / 2, rel=0.2)
    assert found[0]["updates"] == 30 * 4
    assert [sum(one["figures"][-1]["utterances_by_worker"]) for one in found] >= [60, 60]
    code, said, found = count_on_two_nodes(tmp_path, 5)  # goes on from the checkpoint
    assert code == 0, said[-3000:]
    assert [len(one["figures"]) for one in found] == [1, 1]
    assert found[0]["updates"] == 30 * 5


def test_node_waits_for_a_slower_one_longer_than_an_exchange_may_take(tmp_path):
    code, said, found = count_on_two_nodes(tmp_path, 1, "lags")
    assert code == 0, said[-3000:]
    assert found[0]["updates"] == 30
    assert found[0]["values"] == found[1]["values"]


def test_lost_node_ends_the_run_and_leaves_its_checkpoint(tmp_path):
    count_on_two_nodes(tmp_path, 1)
    code, said, _ = count_on_two_nodes(tmp_path, 10**6, "raises")
    assert code != 0
    assert "third batch of worker 1" in said
    code, said, found = count_on_two_nodes(tmp_path, 2)
    assert code == 0, said[-3000:]
    assert found[0]["updates"] >= 60
