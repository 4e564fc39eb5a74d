"""The folder of an experiment: what is written, with and without git."""

import logging
import subprocess

import pytest

from recipes.common import experiment
from recipes.common.experiment import (
    git_commit,
    git_state,
    save_experiment,
    starts_of,
    write_atomically,
)
from recipes.common.hparams import load_run
from recipes.common.machine import machine


@pytest.fixture
def repository(tmp_path):
    def git(*arguments):
        identity = ["-c", "user.name=n", "-c", "user.email=e@x"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True)

    git("init", "-q")
    (tmp_path / "code.py").write_text("one\n")
    git("add", "code.py")
    git("commit", "-q", "-m", "first")
    return tmp_path


@pytest.fixture(autouse=True)
def own_logging(monkeypatch):
    monkeypatch.setattr("recipes.common.experiment.setup_logging", lambda *_: None)
    monkeypatch.setattr("sys.excepthook", None)


def test_git_state_holds_commit_and_changes(repository):
    commit = git_commit(repository)
    assert len(commit) == 40
    (repository / "code.py").write_text("two\n")
    assert git_commit(repository) == commit + "+changes"
    assert "+two" in git_state(repository)


def test_git_state_outside_a_repository_is_none(tmp_path):
    assert git_state(tmp_path) is None
    assert git_commit(tmp_path) is None


def test_git_state_without_git_is_none(repository, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert git_state(repository) is None


def test_experiment_folder_can_be_run_again(tmp_path, caplog):
    (tmp_path / "run.yaml").write_text("seed: 1\nname: !ref run<seed>\n")
    run = load_run([str(tmp_path / "run.yaml"), "--seed", "5"])
    with caplog.at_level(logging.INFO):
        save_experiment(tmp_path / "out" / "deep", run)
    folder = tmp_path / "out" / "deep"
    assert load_run([str(folder / "hyperparams.yaml")]).hparams == {"seed": 5, "name": "run5"}
    names = {path.name for path in folder.iterdir()}
    assert {"hyperparams.yaml", "command.txt", "env.log"} <= names
    assert not any(name.startswith(".") for name in names)


def test_every_start_is_noted_with_its_commit_and_machine(tmp_path, monkeypatch):
    (tmp_path / "run.yaml").write_text("seed: 1\n")
    run = load_run([str(tmp_path / "run.yaml")])
    for commit in ("a" * 40, "b" * 40 + "+changes"):
        monkeypatch.setattr(experiment, "git_commit", lambda commit=commit: commit)
        save_experiment(tmp_path / "out", run)
    starts = starts_of(tmp_path / "out")
    assert [start["commit"] for start in starts] == ["a" * 40, "b" * 40 + "+changes"]
    assert all(start["machine"] == machine() for start in starts)
    assert starts[0]["started"] <= starts[1]["started"]


def test_write_atomically_replaces_whole_files(tmp_path):
    for text in ("long text", "short"):
        write_atomically(tmp_path / "file", text)
    assert (tmp_path / "file").read_text() == "short"
    assert len(list(tmp_path.iterdir())) == 1


def test_experiment_with_checkpoints_of_other_values_warns_of_them(tmp_path, caplog):
    (tmp_path / "run.yaml").write_text(
        "lr: 1.0\nseed: 1\nkind: !name:torch.nn.Linear\nnet: !new:torch.nn.Identity {}\n"
    )
    yaml, folder = str(tmp_path / "run.yaml"), tmp_path / "out"
    save_experiment(folder, load_run([yaml]))
    save_experiment(folder, load_run([yaml, "--lr", "3.0"]))
    assert "other values" not in caplog.text  # nothing was trained yet
    (folder / "checkpoints" / "CKPT+1").mkdir(parents=True)
    (folder / "checkpoints" / "CKPT+1" / "CKPT.yaml").touch()
    save_experiment(folder, load_run([yaml, "--lr", "3.0"]))
    assert "other values" not in caplog.text
    save_experiment(folder, load_run([yaml, "--lr", "2.0"]))
    assert "begun with other values of lr:" in caplog.text
