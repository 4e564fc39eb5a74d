"""A run that is stopped and started again goes on where its checkpoint was taken."""

import json

import pytest
import torch

import hogwild.launch
from hogwild.counters import Counters
from tests.unit.hogwild.counting import Numbered, Task, count, times_applied
from tests.unit.hogwild.toy_run import Toy, train
from tests.unit.recipes.common.toy import ToyLoader, make_batches, weights

pytestmark = pytest.mark.multiproc


@pytest.mark.parametrize("stop_at", [5, 14])
def test_one_worker_stopped_in_mid_epoch_ends_as_one_that_was_not(tmp_path, stop_at):
    run_opts = {"grad_accumulation_factor": 2, "ckpt_interval_steps": 2, "ckpt_interval_minutes": 0}
    toy = Toy({"dropout": 0.3, "norm": True, "run_opts": run_opts}, schedule=True)
    straight = train(toy, folder=tmp_path / "straight", epochs=3).brain
    with pytest.raises(KeyboardInterrupt):
        train(toy, folder=tmp_path / "stopped", epochs=3, kill_after=stop_at)
    stopped = train(toy, folder=tmp_path / "stopped", epochs=3).brain
    assert len(stopped.reports) < len(straight.reports)
    assert torch.equal(weights(straight), weights(stopped))
    assert straight.stages[-2:] == stopped.stages[-2:]
    assert straight.optimizer_step == stopped.optimizer_step


def test_limit_in_mid_epoch_goes_on_with_other_workers(tmp_path):
    task, valid = Task(30), [Numbered(0, ["valid"])]
    how = {"folder": tmp_path, "epochs": 2, "valid": valid}
    first, _ = count(task, **how, hparams={"max_updates": 40}, num_workers=3)
    assert sum(times_applied(first)) == 40
    second, figures = count(task, **how)
    assert len(figures) == 1
    assert times_applied(second) == [2] * 30
    assert second.optimizer_step == 60
    assert sum(figures[-1]["updates_by_worker"]) == 60


@pytest.mark.parametrize(
    ("interrupt_after", "every"), [("finish_validation", 0), ("_save_intra_epoch_ckpt", 10)]
)
def test_interrupted_workers_lose_nothing_and_repeat_at_most_one_batch_each(
    tmp_path, interrupt_after, every
):
    # Worker 1 is slow, so the other is in the second epoch before the first is complete.
    task = Task(30, fate="is_slow")
    how = {"folder": tmp_path, "epochs": 3, "valid": [Numbered(0, ["valid"])]}
    how["run_opts"] = {"ckpt_interval_steps": every, "ckpt_interval_minutes": 0}
    with pytest.raises(KeyboardInterrupt):
        count(task, **how, interrupt_after=interrupt_after)
    (folder,) = tmp_path.glob("CKPT+*")
    state = torch.load(folder / "hogwild.ckpt", weights_only=True)["nodes"][0]
    applied = json.loads(state["leases"])["applied"]
    sizes = {epoch: sum(end - first for first, end in part) for epoch, part in applied.items()}
    if every:
        assert 10 <= sizes["1"] < 30
    else:
        assert list(sizes) == ["2"]
        assert 0 < sizes["2"] <= 30
    brain, figures = count(task, **how)
    assert [entry["epoch"] for entry in figures] == ([1, 2, 3] if every else [2, 3])
    found = times_applied(brain)
    assert min(found) == 3
    assert sum(found) - 90 <= 2
    assert 90 <= sum(figures[-1]["utterances_by_worker"]) <= 92


def test_moments_of_each_worker_and_the_average_come_back(tmp_path, monkeypatch):
    toy = Toy(sizes=tuple([4] * 24))
    how = {"folder": tmp_path, "num_workers": 2, "ema_decay": 0.9, "ema_every": 1}
    train(toy, epochs=1, **how)
    saved = newest_state(tmp_path)
    begun = []

    class Looking(hogwild.launch.Session):
        def begin(self, *arguments):
            states = self.memory.shared.states.saved()
            own = [[flat.clone() for flat in flats.values()] for flats in states.own]
            begun.extend([own, [flat.clone() for flat in self.memory.ema.flats.values()]])
            super().begin(*arguments)

    monkeypatch.setattr(hogwild.launch, "Session", Looking)
    ran = train(toy, epochs=2, **how)
    own, average = begun
    for mine, theirs in zip([*own, average], [*saved["own"], saved["ema"]], strict=True):
        assert all(map(torch.equal, mine, theirs))
    assert all(flats[0].abs().sum() > 0 for flats in own)
    assert not torch.equal(own[0][0], own[1][0])
    # They were gone on with: the steps that a worker's Adam has counted are all of its updates.
    states = ran.brain.optimizer.state.values()
    assert {int(state["step"]) for state in states} == {ran.figures[-1]["updates_by_worker"][0]}
    assert sum(ran.figures[-1]["updates_by_worker"]) == 48
    ended = newest_state(tmp_path)
    assert not torch.equal(ended["ema"][0], saved["ema"][0])


def newest_state(folder):
    path = sorted(folder.glob("CKPT+*"))[-1] / "hogwild.ckpt"
    (state,) = torch.load(path, weights_only=True)["nodes"]
    return state


def test_plain_trainers_checkpoint_goes_on_with_workers(tmp_path):
    toy = Toy()
    batches, valid = toy.batches().batches, ToyLoader(make_batches([4, 3]))
    plain, counter = toy.make(tmp_path, 1)
    plain.fit(counter, torch.utils.data.DataLoader(batches, batch_size=None), valid)
    ran = train(toy, folder=tmp_path, epochs=2).brain
    straight = train(toy, epochs=2).brain
    assert torch.equal(weights(ran), weights(straight))


def test_plain_trainers_checkpoint_from_mid_epoch_is_refused(tmp_path):
    toy = Toy({"hparams": {"max_updates": 15}})
    plain, counter = toy.make(tmp_path, 2)
    plain.fit(counter, ToyLoader(toy.batches().batches), ToyLoader(make_batches([4, 3])))
    with pytest.raises(ValueError, match=r"plain trainer's, 4 batches after[^$]*with train\.py"):
        train(Toy(), folder=tmp_path, epochs=2)


@pytest.mark.parametrize(("then", "now"), [(4, 5), (None, 4), (4, None)])
def test_other_length_of_an_epoch_is_refused(tmp_path, then, now):
    how = {"folder": tmp_path, "plan_id": "a", "valid": [Numbered(0, ["valid"])]}
    first, _ = count(Task(6), epochs=1, batches_per_epoch=then, **how)
    assert first.optimizer_step == (then or 6)
    with pytest.raises(ValueError, match=r"expected the same [^;]*batches_per_epoch"):
        count(Task(6), epochs=2, batches_per_epoch=now, **how)


def test_nominal_epochs_go_on_where_the_last_one_ended(tmp_path):
    how = {"folder": tmp_path, "batches_per_epoch": 4, "valid": [Numbered(0, ["valid"])]}
    count(Task(6), epochs=1, **how)
    assert times_applied(count(Task(6), epochs=3, **how)[0]) == [2] * 6


def test_other_plan_is_refused(tmp_path):
    count(Task(6), folder=tmp_path, epochs=1, plan_id="a", valid=[Numbered(0, ["valid"])])
    with pytest.raises(ValueError, match="of the plan a, now it is b"):
        count(Task(6), folder=tmp_path, epochs=2, plan_id="b")


def test_counters_keep_their_sums_with_other_workers():
    counters = Counters(3)
    counters.counts[:] = torch.arange(48).reshape(3, 16).numpy()
    counters.set_epoch_sums(0, 2, [1.5, 3])
    counters.set_epoch_sums(2, 2, [0.5, 1])
    other = Counters(2)
    other.load(counters.state())
    assert other.total_updates == counters.total_updates
    assert other.epoch_sums(2) == [2.0, 4]
    assert other.epoch_sums(6) == [0.0, 0]
