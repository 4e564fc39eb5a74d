"""A run that is killed again and again ends as one that never was."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.integration.commands import (
    SMALL,
    checkpoints,
    kill_when,
    log_rows,
    parameters,
    run,
    run_json,
    train_command,
)
from tests.integration.conftest import MainJob

pytestmark = pytest.mark.multiproc

EVERY = 4
"""Updates between two checkpoints in mid-epoch."""
KILLS = (4, 12, 20)
"""Updates after whose checkpoint the run is killed; an epoch has 16."""
ATTEMPTS = 3


def position(checkpoint: Path) -> tuple[int, bool]:
    """Return a checkpoint's update and whether it lies in mid-epoch; (0, False) if it is gone."""
    try:
        state = json.loads((checkpoint / "brain.ckpt").read_text(encoding="utf-8"))
        meta = (checkpoint / "CKPT.yaml").read_text(encoding="utf-8")
    except FileNotFoundError:  # deleted meanwhile, as a newer one is there
        return 0, False
    return state["optimizer_step"], "end-of-epoch: false" in meta


def newest(output: Path) -> tuple[int, bool]:
    """Return the position of the newest checkpoint."""
    return max(map(position, checkpoints(output)), default=(0, False))


def is_killed_in_mid_epoch(command: list[str], output: Path, update: int) -> bool:
    """Kill a run when it has saved an update; a busy machine may do it an epoch too late."""
    code = kill_when(command, lambda: newest(output)[0] >= update)
    return code == -9 and newest(output)[1]


@pytest.fixture(scope="module")
def outputs(main_job: MainJob, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of a run without a stop, and of one that was killed three times in mid-epoch."""
    folder = tmp_path_factory.mktemp("resume")
    options: dict[str, Any] = {**SMALL, "work_folder": main_job.work, "num_workers": 1}
    options |= {
        "num_epochs": 2,
        "num_warmup": 1,
        "ckpt_interval_steps": EVERY,
        "ckpt_interval_minutes": 0,
    }
    assert "model.dropout" not in options  # the default, more than 0: random states count
    run(train_command("hparams/train.yaml", folder / "straight", **options)).check()
    for attempt in range(ATTEMPTS):
        killed = folder / f"killed_{attempt}"
        command = train_command("hparams/train.yaml", killed, **options)
        if all(is_killed_in_mid_epoch(command, killed, update) for update in KILLS):
            run(command).check()
            return {"straight": folder / "straight", "killed": killed}
    pytest.fail(f"{ATTEMPTS} times a kill came after the end of its epoch: is the machine stuck?")


def assert_equal(one: Any, other: Any, where: str = "") -> None:
    """Fail unless two trees of tensors and plain values are equal bit by bit."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_equal(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for number, pair in enumerate(zip(one, other, strict=True)):
            assert_equal(*pair, f"{where}[{number}]")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    else:
        assert one == other, where


@pytest.mark.parametrize("name", ["model", "optimizer"])
def test_resume_after_kills_ends_with_equal_parameters(outputs, name):
    straight, killed = (parameters(outputs[run], name) for run in ("straight", "killed"))
    assert straight
    assert_equal(straight, killed, name)


def test_resume_after_kills_reports_equal_figures(outputs):
    straight, killed = (log_rows(outputs[run])[-1] for run in ("straight", "killed"))
    for name in ("epoch", "updates", "train_loss", "loss", "wer", "wer_p", "cer_p"):
        assert straight[name] == killed[name], name
    assert straight["updates"] > max(KILLS)
    assert run_json(outputs["straight"])["results"] == run_json(outputs["killed"])["results"]


def test_resume_after_kills_leaves_no_rubbish(outputs):
    straight, killed = (outputs[run] / "checkpoints" for run in ("straight", "killed"))
    assert all(path.name.startswith("CKPT+") for path in killed.iterdir())
    assert len(list(killed.iterdir())) == len(list(straight.iterdir()))
