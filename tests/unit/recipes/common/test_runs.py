"""Whole runs of the common Brain: limits, stopping, and resume after a kill, bit for bit."""

import math

import pytest
import torch
from speechbrain.nnet.schedulers import NoamScheduler

from recipes.common import loops
from recipes.common.early_stopping import EarlyStopping
from recipes.common.schedule import inverse_square_root
from tests.unit.recipes.common.toy import ToyLoader, make_batches, make_brain, weights

SIZES = [2, 3, 1, 4, 2, 5, 1, 3]


def start(folder, *, hparams=None, run_opts=None, epochs=3):
    torch.manual_seed(torch.seed() % 1000)  # a new process has its own stream
    hparams = {"num_to_keep": 1, **(hparams or {})}
    options = {"grad_accumulation_factor": 2, **(run_opts or {})}
    brain, counter = make_brain(
        folder=folder, hparams=hparams, run_opts=options, epochs=epochs, dropout=0.4
    )
    loaders = ToyLoader(make_batches(SIZES), shuffle=True), ToyLoader(make_batches([2, 2]))
    return brain, lambda: brain.fit(counter, *loaders)


@pytest.mark.parametrize("updates", [2, 3, 4, 6, 7, 11])
def test_resume_after_a_kill_is_bit_exact_with_dropout(tmp_path, updates):
    straight, fit = start(tmp_path / "straight")
    fit()
    options = {"ckpt_interval_steps": 2}
    killed, fit = start(tmp_path / "killed", run_opts=options)
    killed.kill_after = updates
    with pytest.raises(KeyboardInterrupt):
        fit()
    resumed, fit = start(tmp_path / "killed", run_opts=options)
    fit()
    assert resumed.optimizer_step == straight.optimizer_step == 12
    assert len(resumed.reports) < 12
    assert torch.equal(weights(resumed), weights(straight))
    assert resumed.stages[-2:] == straight.stages[-2:]


def test_resume_of_a_finished_run_does_nothing(tmp_path):
    _, fit = start(tmp_path)
    fit()
    again, fit = start(tmp_path)
    fit()
    assert again.reports == []
    assert again.stages == []
    assert again.first_update == again.optimizer_step == 12


def test_max_updates_stops_exactly_and_validates(tmp_path):
    brain, fit = start(tmp_path, hparams={"max_updates": 6})
    fit()
    assert brain.optimizer_step == 6
    assert [name for name, _ in brain.stages] == ["TRAIN", "VALID", "TRAIN", "VALID"]
    assert brain.checkpointer.find_checkpoint().meta["updates"] == 6
    again, fit = start(tmp_path, hparams={"max_updates": 6})
    fit()
    assert again.reports == []


def test_kill_in_the_last_validation_does_not_skip_it(tmp_path):
    how = {"hparams": {"max_updates": 3}, "run_opts": {"ckpt_interval_steps": 2}}
    killed, fit = start(tmp_path, **how)
    killed.evaluate_batch = None
    with pytest.raises(TypeError):
        fit()
    resumed, fit = start(tmp_path, **how)
    fit()
    assert resumed.optimizer_step == 3
    assert [name for name, _ in resumed.stages] == ["TRAIN", "VALID"]


@pytest.mark.parametrize("first", [3, 4])
def test_max_updates_raised_later_equals_one_long_run(tmp_path, first):
    straight, fit = start(tmp_path / "straight")
    fit()
    _, fit = start(tmp_path / "two", hparams={"max_updates": first})
    fit()
    second, fit = start(tmp_path / "two", hparams={"max_updates": 12})
    fit()
    assert second.optimizer_step == 12
    assert torch.equal(weights(second), weights(straight))
    assert second.stages[-1] == straight.stages[-1]


def test_limits_that_differ_are_refused():
    with pytest.raises(ValueError, match="optimizer_step_limit 5"):
        make_brain(hparams={"max_updates": 6}, run_opts={"optimizer_step_limit": 5})


def test_options_of_wrong_types_are_told_at_once():
    with pytest.raises(ValueError, match=r"(?s)max_updates.*log_every.*valid_mode"):
        make_brain(hparams={"max_updates": "6", "log_every": 1.5, "valid_mode": "low"})


def test_early_stopping_ends_the_run_and_is_remembered(tmp_path):
    hparams = {"early_stopping": EarlyStopping(2, metric="train_loss", min_delta=100.0)}
    brain, fit = start(tmp_path, hparams=hparams, epochs=9)
    fit()
    assert len(brain.stages) == 6  # the first is the best, two more are flat
    hparams = {"early_stopping": EarlyStopping(2, metric="train_loss", min_delta=100.0)}
    again, fit = start(tmp_path, hparams=hparams, epochs=9)
    fit()
    assert again.stages == []


@pytest.mark.parametrize("kind", ["function", "scheduler"])
def test_update_schedule_sets_each_rate_before_its_update_and_resumes(tmp_path, kind):
    def schedule():
        if kind == "scheduler":
            return NoamScheduler(0.1, 4)
        return lambda update: inverse_square_root(update + 1, peak=0.1, num_warmup=4)

    straight, fit = start(tmp_path / "a", hparams={"update_schedule": schedule()})
    fit()
    rates = [report.rate for report in straight.reports]
    assert rates[:6] == pytest.approx(
        [0.025, 0.05, 0.075, 0.1, 0.1 * (4 / 5) ** 0.5, 0.1 * (4 / 6) ** 0.5]
    )
    _, fit = start(tmp_path / "b", hparams={"update_schedule": schedule(), "max_updates": 6})
    fit()
    resumed, fit = start(tmp_path / "b", hparams={"update_schedule": schedule()})
    fit()
    assert [report.rate for report in resumed.reports] == rates[6:]


def test_clock_goes_on_over_restarts_and_notes_the_target(tmp_path):
    brain, fit = start(tmp_path, hparams={"max_updates": 4, "target_value": math.inf})
    fit()
    seconds = brain.clock.total_s
    assert 0 < brain.clock.target_reached_s <= seconds
    again, fit = start(tmp_path, hparams={"target_value": math.inf})
    fit()
    assert again.clock.target_reached_s == brain.clock.target_reached_s
    assert again.clock.total_s > brain.clock.target_reached_s


def test_evaluate_loads_the_best_checkpoint_and_leaves_the_rest(tmp_path):
    brain, fit = start(tmp_path)
    fit()
    best = brain.checkpointer.find_checkpoint(min_key="loss")
    step, rate = brain.optimizer_step, brain.optimizer.param_groups[0]["lr"]
    loss = brain.evaluate(ToyLoader(make_batches([2, 2])))
    assert loss == pytest.approx(best.meta["loss"])
    assert (brain.optimizer_step, brain.optimizer.param_groups[0]["lr"]) == (step, rate)


def test_evaluate_only_without_checkpoint_is_an_error(tmp_path):
    brain, fit = start(tmp_path, run_opts={"test_only": True})
    fit()
    with pytest.raises(FileNotFoundError, match="train first"):
        brain.evaluate(ToyLoader(make_batches([2])))


def test_evaluate_averages_the_best_checkpoints(tmp_path):
    options = {"num_to_keep": 3, "average_best_of": 3}
    brain, fit = start(tmp_path, hparams=options)
    fit()
    found = brain.checkpointer.find_checkpoints(min_key="loss", max_num_checkpoints=3)
    states = [torch.load(ckpt.paramfiles["net"], weights_only=True) for ckpt in found]
    brain.evaluate(ToyLoader(make_batches([2])))
    mean = sum(state["out.weight"] for state in states) / 3
    assert torch.allclose(brain.modules.net.out.weight, mean, atol=1e-6)


def test_debug_run_ends_after_its_batches(tmp_path):
    brain, fit = start(tmp_path, run_opts={"debug": True, "debug_batches": 3, "debug_epochs": 1})
    fit()
    assert len(brain.reports) == 2  # of two and of one micro-batch
    assert [name for name, _ in brain.stages] == ["TRAIN", "VALID"]


def test_loader_without_ends_nor_length_is_refused_if_batches_are_left(monkeypatch):
    monkeypatch.setattr(ToyLoader, "__len__", lambda self: (_ for _ in ()).throw(TypeError()))
    brain, counter = make_brain(run_opts={"grad_accumulation_factor": 2})
    with pytest.raises(RuntimeError, match="1 micro-batches were not applied"):
        brain.fit(counter, ToyLoader(make_batches([2, 2, 2]), has_ends=False))


def test_limit_in_seconds_ends_in_mid_epoch_and_goes_on_when_raised(tmp_path, monkeypatch):
    brain, fit = start(tmp_path, hparams={"max_seconds": 5.0})
    step = type(brain).apply_update

    def slow_update(self, optimizers):
        step(self, optimizers)
        self.clock._seconds["train"] += 1.0  # an update takes a second

    monkeypatch.setattr(type(brain), "apply_update", slow_update)
    fit()
    # The clock is looked at before an update: the one after the limit is the last.
    assert brain.optimizer_step == 6
    assert [name for name, _ in brain.stages] == ["TRAIN", "VALID", "TRAIN", "VALID"]
    again, fit = start(tmp_path, hparams={"max_seconds": 5.0})
    fit()
    assert again.reports == []
    raised, fit = start(tmp_path, hparams={"max_seconds": 100.0})
    fit()
    straight, fit = start(tmp_path / "straight")
    fit()
    assert raised.optimizer_step == straight.optimizer_step == 12
    assert torch.equal(weights(raised), weights(straight))


def test_utterances_are_counted_over_restarts_and_padding_is_not(tmp_path):
    killed, fit = start(tmp_path, run_opts={"ckpt_interval_steps": 2})
    killed.kill_after = 5
    with pytest.raises(KeyboardInterrupt):
        fit()
    resumed, fit = start(tmp_path)
    fit()
    assert resumed.num_utterances == 3 * sum(SIZES)
    brain, counter = make_brain(epochs=1)
    brain.fit(counter, ToyLoader(make_batches([2, 0, 3])))
    assert brain.num_utterances == 5


@pytest.mark.parametrize(
    ("num_ranks", "updates", "num_steps", "asks"),
    [(1, 3, 1, True), (2, 3, 1, False), (2, 10, 1, True), (2, 3, 5, True)],
)
def test_ranks_ask_every_few_updates_whether_to_save(
    monkeypatch, num_ranks, updates, num_steps, asks
):
    brain, _ = make_brain(run_opts={"ckpt_interval_steps": 5})
    monkeypatch.setattr(loops, "world_size", lambda: num_ranks)
    brain.optimizer_step = updates
    assert loops.may_ask_for_save(brain, num_steps) == asks
