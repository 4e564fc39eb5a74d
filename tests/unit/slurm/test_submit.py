"""What slurm/submit.py would send, by its dry run."""

import os
import shlex
import subprocess
import sys

import pytest

from tests.conftest import ROOT


def dry_run(*words: str) -> list[list[str]]:
    own, rest = list(words), []
    if "--" in own:
        own, rest = own[: own.index("--")], own[own.index("--") :]
    command = [sys.executable, "slurm/submit.py", *own, "--dry-run", *rest]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [shlex.split(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("job", "target"),
    [
        ("train", "hparams/train.yaml"),
        ("ddp", "hparams/train_ddp.yaml"),
        ("ddp_nodes", "hparams/train_ddp.yaml"),
        ("hogwild", "hparams/train_hogwild.yaml"),
        ("prepare", "data_prepare.bizspeech"),
    ],
)
def test_job_is_sent_with_its_resources_and_a_warning(job, target):
    (words,) = dry_run(
        job, target, "--gpus", "4", "--nodes", "2", "--time", "8:00:00", "--warn_s", "90",
        "--partition", "gpu", "--mem", "64G", "--", "--seed", "3",
    )  # fmt: skip
    assert words[:3] == ["sbatch", "--parsable", "--requeue"]
    for flag in (
        "gres=gpu:4",
        "nodes=2",
        "time=8:00:00",
        "signal=B:USR1@90",
        "partition=gpu",
        "mem=64G",
    ):
        assert f"--{flag}" in words
    script = next(place for place, word in enumerate(words) if word.startswith("slurm/"))
    assert (ROOT / words[script]).is_file()
    assert words[script + 1 :] == [target, "--seed", "3"]


def test_what_is_not_given_is_not_asked_for():
    (words,) = dry_run("train", "hparams/train.yaml")
    assert not [w for w in words if w.startswith(("--gres", "--account", "--mem", "--dependency"))]


def test_preparing_is_an_array():
    (words,) = dry_run("prepare", "data_prepare.bizspeech", "--tasks", "32", "--at_once", "4")
    assert "--array=0-31%4" in words


def test_comparison_is_an_array_and_a_report_after_it():
    runs, report = dry_run("compare", "hparams/compare.yaml", "--gpus", "1", "--exclusive")
    # 6 ways, 3 seeds; two budgets, and one more for the straggler.
    assert "--array=0-53" in runs
    assert "--exclusive" in runs
    assert "--stage" in runs
    assert "--dependency=afterok:JOB" in report
    assert not [word for word in report if word.startswith(("--array", "--gres"))]


def test_comparison_that_chooses_rates_sends_these_runs_first():
    words = ["--comparison.rates", "[0.001, 0.003]", "--comparison.seeds", "[0]"]
    tuning, runs, report = dry_run("compare", "hparams/compare.yaml", "--", *words)
    assert "--array=0-11" in tuning
    assert tuning[tuning.index("--stage") + 1] == "tuning"
    assert "--dependency=afterok:JOB" in runs
    assert "--dependency=afterok:JOB" in report


@pytest.mark.parametrize(("warn_s", "late_s"), [("300", "240"), ("60", "48")])
def test_job_goes_back_by_itself_before_its_limit(tmp_path, warn_s, late_s):
    sbatch = tmp_path / "sbatch"
    sbatch.write_text(f'#!/bin/sh\necho "$REQUEUE_AFTER_S" >{tmp_path}/told\necho "7;cluster"\n')
    sbatch.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    environment.pop("REQUEUE_AFTER_S", None)
    command = [sys.executable, "slurm/submit.py", "train", "hparams/train.yaml"]
    command += ["--warn_s", warn_s, "--logs", str(tmp_path / "logs")]
    for given, wanted in ((None, late_s), ("11", "11")):
        if given:
            environment["REQUEUE_AFTER_S"] = given
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines()[-1] == "job 7"
        assert (tmp_path / "told").read_text() == f"{wanted}\n"
