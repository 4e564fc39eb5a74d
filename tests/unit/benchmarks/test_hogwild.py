"""The benchmarks of asynchronous training in their smallest form: they run, and they report."""

import json

import pytest
import torch

from benchmarks import hogwild_gpu, hogwild_methods, hogwild_push, hogwild_speed
from benchmarks.hogwild_task import Task

pytestmark = pytest.mark.multiproc
TASK = Task("mlp", batches=40, examples=32)


@pytest.fixture(autouse=True)
def threads_stay_as_they_are():
    num_threads = torch.get_num_threads()
    yield
    torch.set_num_threads(num_threads)


def test_every_way_trains_and_counts_its_memory():
    some = {name: way for name, way in hogwild_speed.ways(2).items() if "averages" not in name}
    some = {name: some[name] for name in (hogwild_speed.DDP, hogwild_speed.CEILING, "Hogwild")}
    found = hogwild_speed.measure(some, TASK, repeats=1, title="test")
    for row in found.values():
        assert row["utterances_per_s"] == 32 * row["batches_per_s"] > 0
        assert row["Pss"] > 50
        assert row[f"to {hogwild_speed.DDP}"] > 0
    assert found[hogwild_speed.DDP][f"to {hogwild_speed.DDP}"] == 1.0
    assert found["Hogwild"]["staleness_mean"] >= 0


def test_report_holds_what_was_measured(monkeypatch, tmp_path):
    figures = {
        "batches_per_s": 90.0,
        "utterances_per_s": 720.0,
        "Pss": 300.0,
        "Private_Dirty": 99.0,
    }
    figures |= {"staleness_mean": 0.5, "lost_updates_share": 1e-6}
    rows = {"Hogwild": figures, hogwild_speed.DDP: figures}
    monkeypatch.setattr(hogwild_speed, "measure", lambda *args, **options: rows)
    monkeypatch.setattr(hogwild_speed, "RESULTS", tmp_path)
    kills = {"every_s": 1.0, "plain_s": [9.0], "killed_s": [9.5], "deaths": [2]}
    monkeypatch.setattr(
        hogwild_speed, "lost_to_kills", lambda *args, **options: {**kills, "lost_s_per_death": 0.25}
    )
    assert hogwild_speed.main(["--quick", "--name", "try"]) == 0
    (path,) = tmp_path.glob("*-hogwild_try.md")
    report = path.read_text()
    assert "| Hogwild | 90.0 | 90.0 | 720 | - | - | 300 | 99 | 0.50 | 1.0e-06 |" in report
    assert "| DDP (gloo) | 90.0 | 45.0 | 720 |" in report
    assert "Lost per death: 0.25 s." in report
    assert json.loads(path.with_suffix(".json").read_text())["push"]


def test_deaths_are_counted():
    task = Task("mlp", batches=3000, examples=32)
    found = hogwild_methods.hogwild(task, num_workers=2, kill_every_s=0.3)
    assert found["restarts"] >= found["deaths"] >= 0
    assert found["restarts"] > 0


def test_costs_of_an_update_are_those_of_the_whole_model():
    found = hogwild_push.push_costs([1], repeats=1)
    ways = {"plain optimizer", "Hogwild, as it is", "Hogwild, looking ahead"}
    assert {row["way"] for row in found} >= ways
    assert all(0.9e6 < row["parameters"] < 1.1e6 and row["ms"] > 0 for row in found)


def test_script_for_gpus_runs_on_the_cpu(capsys):
    assert hogwild_gpu.main(["--device", "cpu", "--batches", "240", "--size", "48"]) == 0
    said = capsys.readouterr().out
    for way in ("1 process", "direct, one device", "direct, all moments shared", "pull and push"):
        assert f"{way}: " in said
