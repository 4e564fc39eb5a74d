"""Table and run.json."""

import json
import platform
from types import SimpleNamespace

import pytest
import torch

from recipes.common.machine import PACKAGES, machine, package_versions
from recipes.common.report import Stopwatch, results_table, run_record, write_run_json
from tests.unit.data_prepare.corpora import write_split

RESULTS = {
    "test": {
        "utterances": 3,
        "wer": 12.345,
        "wer_p": 20.0,
        "cer_p": None,
        "by_category": {"native": {"utterances": 3, "wer": 12.345, "wer_p": 20.0, "cer_p": None}},
    }
}


def test_table_shows_figures_and_categories():
    lines = results_table(RESULTS).splitlines()
    assert lines[0].split() == ["test", "set", "WER", "%", "WER-P", "%", "CER-P", "%", "utterances"]
    assert lines[2].split() == ["test", "12.35", "20.00", "-", "3"]
    assert lines[3].split() == ["native", "12.35", "20.00", "-", "3"]


def test_table_other_metrics_are_left_out():
    assert "WER" not in results_table({"test": {"utterances": 1}})


def test_run_json_is_whole_and_has_the_machine(tmp_path):
    write_run_json(tmp_path / "run.json", {"seed": 3, "results": RESULTS}, has_trained=True)
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["seed"] == 3
    assert record["results"] == RESULTS
    assert record["machine"]["cores"] == machine()["cores"] > 0
    assert set(record["packages"]) == set(PACKAGES)
    assert list(tmp_path.iterdir()) == [tmp_path / "run.json"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "processor\t: 0\ncpu family\t: 25\nmodel\t\t: 1\nmodel name\t: AMD EPYC\n"
            "stepping\t: 2\n"
            "\nprocessor\t: 1\nmodel name\t: another\n",
            "AMD EPYC (family 25, model 1, stepping 2)",
        ),
        ("model name\t: A board: small\n", "A board: small"),
        ("processor\t: 0\nCPU part\t: 0xd0c\n", platform.processor() or platform.machine()),
    ],
)
def test_processors_of_one_name_are_told_apart(text, expected, tmp_path, monkeypatch):
    monkeypatch.setattr("recipes.common.machine.CPU_INFO", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text(text)
    assert machine()["processor"] == expected


def test_package_versions_are_those_pinned(repo_root):
    pins = dict(
        line.split("==")
        for line in (repo_root / "requirements.txt").read_text().splitlines()
        if "==" in line
    )
    found = package_versions()
    assert {name: found[name].split("+")[0] for name in found} == {n: pins[n] for n in found}


def test_stopwatch_total_is_the_sum_of_laps():
    watch = Stopwatch()
    watch.lap("prepare")
    watch.lap("train")
    watch.lap("train")
    assert set(watch.seconds) == {"prepare", "train", "total"}
    parts = watch.seconds["prepare"] + watch.seconds["train"]
    assert abs(parts - watch.seconds["total"]) < 1e-9


def brain_that_only_tested():
    return SimpleNamespace(
        raw_modules=torch.nn.ModuleDict(),
        precision="fp32",
        device="cpu",
        optimizer_step=0,
        num_utterances=0,
        nonfinite=SimpleNamespace(num_skipped=0),
        train_loss=float("nan"),
        clock=SimpleNamespace(train_s=0.0, valid_s=0.0, target_reached_s=None),
        options=SimpleNamespace(valid_metric="wer", target_value=20.0),
    )


def record_of(folders):
    run = SimpleNamespace(path="x.yaml", hparams={"seed": 1})
    brain, results = brain_that_only_tested(), {"test": {"loss": float("nan"), "wer": 2.0}}
    return run_record(run, brain, watch=Stopwatch(), results=results, folders=folders)


def test_run_record_of_a_run_that_only_tests_is_strict_json():
    made = record_of({})
    assert made["train_loss"] is None
    assert made["results"] == {"test": {"loss": None, "wer": 2.0}}
    json.dumps(made, allow_nan=False)


def test_run_record_after_a_shard_is_gone_has_the_checksum(tmp_path, caplog):
    split = write_split(tmp_path / "train", [[0.1], [0.1]])
    whole = record_of({"train": split})["index_checksums"]
    (split / "shard-000001.tar").unlink()
    assert record_of({"train": split})["index_checksums"] == whole
    assert "shard-000001.tar: missing" in caplog.text


def record(updates: int, test: str, command: str) -> dict:
    return {
        "updates": updates,
        "command": command,
        "commit": "c",
        "seconds": {"train": float(updates)},
        "results": {test: {"wer": 1.0}},
        "index_checksums": {test: "sum"},
    }


def test_run_json_testing_keeps_the_training(tmp_path):
    path = tmp_path / "run.json"
    write_run_json(path, record(10, "test", "train"), has_trained=True)
    write_run_json(path, record(0, "librispeech/test-clean", "test only"), has_trained=False)
    found = json.loads(path.read_text())
    assert (found["updates"], found["command"], found["seconds"]) == (10, "train", {"train": 10.0})
    assert set(found["results"]) == {"test", "librispeech/test-clean"}
    assert found["tested"]["command"] == "test only"


@pytest.mark.parametrize(
    ("updates", "has_trained"),
    [
        (20, True),
        (10, True),  # anew, after its checkpoints were deleted
        (20, False),  # trained by a command that was killed before it wrote the record
    ],
)
def test_run_json_more_training_is_a_new_record(tmp_path, updates, has_trained):
    path = tmp_path / "run.json"
    write_run_json(path, record(10, "test", "train"), has_trained=True)
    write_run_json(path, record(updates, "test", "again"), has_trained=has_trained)
    found = json.loads(path.read_text())
    assert (found["updates"], found["command"]) == (updates, "again")
    assert "tested" not in found
