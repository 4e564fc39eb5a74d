"""The start-up benchmark in its smallest form: batches come, fresh and resumed."""

import json

import pytest

from benchmarks import startup
from benchmarks.startup_index import is_made
from data_prepare.index import ShardIndex


@pytest.mark.multiproc
def test_command_writes_a_report(tmp_path, monkeypatch):
    name = "first batch, resumed, 2 loader workers"
    monkeypatch.setattr(
        startup, "WAYS", {key: startup.WAYS[key] for key in ("load and plan", name)}
    )
    options = ["--quick", "--work", str(tmp_path / "work"), "--results", str(tmp_path)]
    assert startup.main(options) == 0
    (path,) = tmp_path.glob("*-startup.json")
    plan, batch = json.loads(path.read_text())["runs"]
    assert plan["batches"] > 2 * startup.NUM_BATCHES
    assert 0 < plan["load_s"] <= plan["wall_s"]
    assert batch["worker_pss_mib"] > batch["worker_uss_mib"] > 0
    assert name in path.with_suffix(".md").read_text()
    split = tmp_path / "work" / "train"
    assert is_made(split, num_utterances=3000)
    assert ShardIndex.load(split).num_utterances == 3000
