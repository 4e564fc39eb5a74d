"""A run's log passes the public compliance checker."""

import json
import subprocess
import sys

import pytest

from recipes.common.scoring import TextScores
from tests.unit.recipes.transducer.brains import fit, make_brain, make_split

pytest.importorskip("mlperf_logging", reason="the compliance checker: requirements-dev.txt")
RUN = {"global_batch": 8, "micro_batch": 4, "num_epochs": 2, "num_workers": 0, "pins_memory": False}


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    return make_split(tmp_path_factory.mktemp("corpus") / "train")


def run_with_log(split, folder, **options):
    own = {"max_tokens": 300, "mlperf_log": folder / "mlperf.log", **RUN, **options}
    return make_brain(split, folder / "run", run_file="train.yaml", **own)


def check(path):
    command = [sys.executable, "-m", "mlperf_logging.compliance_checker", "--usage", "training"]
    done = subprocess.run(
        [*command, "--ruleset", "2.0.0", str(path)],
        cwd=path.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def keys(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line.removeprefix(":::MLLOG ")) for line in lines]


def test_log_with_a_mocked_evaluator_passes_entirely(split, tmp_path, monkeypatch):
    brain, train_set, valid_set = run_with_log(split, tmp_path)
    summarise = TextScores.summarise
    monkeypatch.setattr(TextScores, "summarise", lambda self: {**summarise(self), "wer_p": 5.5})
    monkeypatch.setattr(valid_set, "report", lambda: {"num_utterances": 2703})
    fit(brain, train_set, valid_set)
    report = check(tmp_path / "mlperf.log")
    assert "SUCCESS" in report, report
    assert keys(tmp_path / "mlperf.log")[-1]["metadata"]["status"] == "success"


def test_log_of_a_small_run_lacks_only_what_it_cannot_have(split, tmp_path):
    brain, *loaders = run_with_log(split, tmp_path)
    fit(brain, *loaders)
    lines = keys(tmp_path / "mlperf.log")
    assert lines[-1]["metadata"]["status"] == "aborted"
    stood_in = []
    for line in lines:
        if line["key"] == "eval_samples":
            line["value"] = 2703
        if line["key"] == "eval_accuracy":
            line["value"] = 0.05
        stood_in.append(f":::MLLOG {json.dumps(line)}\n")
    report = check(tmp_path / "mlperf.log")
    assert "FAILED" in report or "SUCCESS" not in report, report
    (tmp_path / "stood_in.log").write_text("".join(stood_in), encoding="utf-8")
    report = check(tmp_path / "stood_in.log")
    assert "SUCCESS" in report, report


def test_log_without_a_key_fails(split, tmp_path):
    brain, *loaders = run_with_log(split, tmp_path, num_epochs=1)
    fit(brain, *loaders)
    text = (tmp_path / "mlperf.log").read_text(encoding="utf-8")
    kept = [line for line in text.splitlines(keepends=True) if "opt_lamb_beta_1" not in line]
    (tmp_path / "cut.log").write_text("".join(kept), encoding="utf-8")
    assert "SUCCESS" not in check(tmp_path / "cut.log")


def test_log_says_train_samples_and_order(split, tmp_path):
    brain, *loaders = run_with_log(split, tmp_path, num_epochs=1)
    fit(brain, *loaders)
    lines = keys(tmp_path / "mlperf.log")
    names = [line["key"] for line in lines]
    found = {line["key"]: line["value"] for line in lines}
    assert found["train_samples"] == 24 and found["eval_samples"] == 24
    assert found["gradient_accumulation_steps"] == 2
    assert found["cache_clear"] is False  # nobody did so
    assert names.index("init_stop") < names.index("run_start") < names.index("train_samples")
    tail = [n for n in names if n.startswith(("block", "epoch", "eval_", "run_stop"))]
    assert tail[-8:] == [
        "block_start", "epoch_start", "epoch_stop", "eval_start", "eval_accuracy", "eval_stop",
        "block_stop", "run_stop",
    ]  # fmt: skip


def test_log_of_another_optimizer_is_refused(split, tmp_path):
    options = {"mlperf_log": tmp_path / "mlperf.log", **RUN}
    with pytest.raises(ValueError, match="with opt_class Adam; expected LAMB"):
        make_brain(split, tmp_path / "run", run_file="small.yaml", **options)
    assert not (tmp_path / "mlperf.log").exists()
