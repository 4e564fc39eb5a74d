"""Rates, statistics and random streams have one owner each, with more than one worker."""

from itertools import pairwise

import pytest
import torch
from speechbrain.nnet.schedulers import StepScheduler

from recipes.common.early_stopping import EarlyStopping
from tests.unit.hogwild.toy_run import Toy, make_mortal_trainee, train
from tests.unit.recipes.common.toy import ToyLoader, make_batches

pytestmark = pytest.mark.multiproc
SIZES = (4,) * 12


def rates_of_epochs(reports) -> list[set[float]]:
    """Return the rates of the updates of each epoch, as their numbers say."""
    epochs: list[set[float]] = [set(), set(), set()]
    for report in reports:
        epochs[(report.number - 1) // len(SIZES)].add(report.rate)
    return epochs


def test_rates_that_follow_validation_reach_all_workers():
    toy = Toy({"hparams": {"valid_schedule": StepScheduler(0.02, 0.5, 1)}}, sizes=SIZES)
    plain, counter = toy.make(epochs=3)
    plain.fit(counter, ToyLoader(toy.batches().batches), ToyLoader(make_batches([4, 3])))
    expected = rates_of_epochs(plain.reports)
    assert [len(rates) for rates in expected] == [1, 1, 1]
    rested = train(toy, epochs=3, num_workers=2, drain=True)
    assert min(rested.figures[-1]["updates_by_worker"]) > 0
    assert rates_of_epochs(rested.brain.reports) == expected
    busy = train(toy, epochs=3, num_workers=2).brain
    first, second, third = map(set.pop, expected)
    # An epoch begins before the validation of the last one ends, but not before its forerunner's.
    found = rates_of_epochs(busy.reports)
    assert found[0] == {first}
    assert found[1] <= {first, second}
    assert found[2] <= {second, third}
    assert busy.optimizer.param_groups[0]["lr"] == plain.optimizer.param_groups[0]["lr"]


def test_worker_that_is_started_again_has_a_new_random_stream(tmp_path):
    toy = Toy(sizes=(4,) * 24)
    ran = train(
        toy,
        epochs=2,
        num_workers=2,
        factory=make_mortal_trainee,
        arguments=(str(tmp_path),),
        valid=False,
    )
    assert ran.figures[-1]["restarts"] == 1
    drawn = {path.stem: float(torch.load(path)) for path in tmp_path.iterdir()}
    assert set(drawn) == {"0-0", "0-1", "1-0"}
    assert all(one != other for one, other in pairwise(sorted(drawn.values())))


def test_early_stopping_ends_the_workers_and_a_run_that_is_started_again(tmp_path):
    # The first validation is better than none, the second never better by so much.
    stopping = EarlyStopping(1, min_delta=1e9)
    toy = Toy({"hparams": {"early_stopping": stopping, "target_value": 1e9}}, sizes=SIZES)
    ran = train(toy, folder=tmp_path, epochs=10, num_workers=2)
    assert [figures["epoch"] for figures in ran.figures] == [1, 2]
    assert [stage for stage, _ in ran.brain.stages] == ["TRAIN", "VALID"] * 2
    assert 2 * len(SIZES) <= ran.brain.optimizer_step <= 3 * len(SIZES)
    assert 0 < ran.brain.clock.target_reached_s < ran.brain.clock.total_s
    again = train(toy, folder=tmp_path, epochs=10, num_workers=2)
    assert again.figures == again.brain.stages == []
    assert again.brain.clock.target_reached_s == ran.brain.clock.target_reached_s


def test_target_that_is_not_reached_is_not_noted():
    toy = Toy({"hparams": {"target_value": 0.0}}, sizes=SIZES)
    ran = train(toy, epochs=2, num_workers=2)
    assert [figures["epoch"] for figures in ran.figures] == [1, 2]
    assert ran.brain.clock.target_reached_s is None
