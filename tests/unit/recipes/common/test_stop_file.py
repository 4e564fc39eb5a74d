"""A run that is asked to stop saves, ends with code 75, and goes on with the same result."""

import pytest
import torch

import train
import train_hogwild
from recipes.common.stop_file import EXIT_CODE, LOOK_EVERY_S, VARIABLE, RunStopped, StopFile
from tests.unit.recipes.common.toy import ToyBrain, ToyLoader, make_batches, make_brain, weights

SIZES = [2, 3, 1, 4, 2, 5]


def start(folder, *, group=2, epochs=3):
    brain, counter = make_brain(
        folder=folder, run_opts={"grad_accumulation_factor": group}, epochs=epochs, dropout=0.4
    )
    loaders = ToyLoader(make_batches(SIZES), shuffle=True), ToyLoader(make_batches([2, 2]))
    return brain, lambda: brain.fit(counter, *loaders)


@pytest.mark.parametrize(("update", "stages"), [(1, 0), (2, 0), (3, 2), (4, 2)])
def test_run_that_was_asked_to_stop_goes_on_bit_for_bit(tmp_path, monkeypatch, update, stages):
    straight, fit = start(tmp_path / "straight")
    fit()
    file = tmp_path / "stop"
    monkeypatch.setenv(VARIABLE, str(file))
    monkeypatch.setattr("recipes.common.stop_file.LOOK_EVERY_S", 0.0)
    stopped, fit = start(tmp_path / "stopped")
    apply_update = stopped.apply_update

    def ask(optimizers):
        apply_update(optimizers)
        if stopped.optimizer_step + 1 == update - 1:
            file.touch()

    stopped.apply_update = ask
    if update == 1:
        file.touch()
    with pytest.raises(RunStopped) as ended:
        fit()
    assert ended.value.code == EXIT_CODE == 75
    # 3 updates an epoch: the file was seen with the last one, so validation has saved.
    assert len(stopped.stages) == stages
    assert stopped.optimizer_step == update
    file.unlink()
    resumed, fit = start(tmp_path / "stopped")
    fit()
    assert resumed.optimizer_step == straight.optimizer_step
    assert len(resumed.reports) == len(straight.reports) - update
    assert torch.equal(weights(resumed), weights(straight))


@pytest.mark.parametrize("limit", [6, 4])  # at an epoch's end, within one
def test_finished_training_is_not_stopped(tmp_path, monkeypatch, limit):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "stop"))
    monkeypatch.setattr("recipes.common.stop_file.LOOK_EVERY_S", 0.0)
    brain, counter = make_brain(hparams={"max_updates": limit}, epochs=9)
    monkeypatch.setattr(
        ToyBrain,
        "on_update_end",
        lambda self, report: report.number == limit - 1 and touch(tmp_path),
    )
    brain.fit(counter, ToyLoader(make_batches(SIZES)), ToyLoader(make_batches([2])))
    assert brain.optimizer_step == limit
    assert [name for name, _ in brain.stages] == ["TRAIN", "VALID"]


def touch(folder):
    (folder / "stop").touch()


def test_disk_is_asked_once_a_second(tmp_path, monkeypatch):
    clock = iter([0.0, 0.5 * LOOK_EVERY_S, 1.1 * LOOK_EVERY_S])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    file = StopFile(tmp_path / "stop")
    assert not file.is_there
    (tmp_path / "stop").touch()
    assert not file.is_there
    assert file.is_there
    assert file.is_there


def test_without_the_variable_nothing_is_asked(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert not StopFile.from_environment().is_there


def test_run_that_torchrun_starts_again_ends_before_it_begins(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "stop"))
    for program in (train, train_hogwild):
        with pytest.raises(SystemExit) as ended:
            program.main(["absent.yaml"])
        assert ended.value.code == 2  # not asked: it looks at what it was given
    touch(tmp_path)
    for program in (train, train_hogwild):
        with pytest.raises(RunStopped):
            program.main(["absent.yaml"])
