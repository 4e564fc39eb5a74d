"""Early stopping, clock, random states, loss sums, sessions: each alone."""

import math
import os
import random

import numpy as np
import pytest
import torch
from speechbrain.utils.run_opts import RunOptions

from recipes.common import clock as clock_module
from recipes.common.clock import TrainClock
from recipes.common.distributed import (
    distributed_session,
    gather_list,
    gather_scores,
    own_cores,
    world_size,
)
from recipes.common.early_stopping import EarlyStopping
from recipes.common.lengths import absolute
from recipes.common.loss import LossMeter, LossSum
from recipes.common.rng import RngStates, preserved_rng, rng_state, seed_by_rank, set_rng_state


def stops_at(stopper, values, key="loss"):
    return next((n for n, v in enumerate(values, 1) if stopper.update({key: v})), None)


@pytest.mark.parametrize(
    ("options", "values", "stop"),
    [
        ({}, [3, 2, 2, 2, 1], 4),
        ({}, [3, 2, 2, 1, 2, 2], 6),
        ({"min_delta": 0.5}, [3, 2.8, 2.6], 3),
        ({"mode": "max"}, [1, 2, 1, 1], 4),
        ({"num_warmup": 3}, [1, 2, 3, 4, 5], 5),
        ({}, [math.nan, math.nan], 2),
        ({}, [5, 4, 3, 2, 1], None),
    ],
)
def test_early_stopping_counts_validations_without_gain(options, values, stop):
    assert stops_at(EarlyStopping(2, **options), values) == stop


def test_early_stopping_remembers_over_a_restart(tmp_path):
    first = EarlyStopping(2)
    assert stops_at(first, [3.0, 3.0]) is None
    first.save(tmp_path / "state")
    second = EarlyStopping(2)
    second.load(tmp_path / "state", True)
    assert second.update({"loss": 3.0})
    assert second.best == 3.0


def test_early_stopping_names_a_missing_metric():
    with pytest.raises(ValueError, match=r"no 'wer' among \['loss'\]"):
        EarlyStopping(2, metric="wer").update({"loss": 1.0})


@pytest.mark.parametrize("options", [{"patience": 0}, {"patience": 1, "mode": "low"}])
def test_early_stopping_refuses_wrong_options(options):
    with pytest.raises(ValueError, match="EarlyStopping"):
        EarlyStopping(**options)


def test_clock_counts_parts_and_survives_a_restart(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(clock_module.time, "monotonic", lambda: now[0])
    clock = TrainClock()
    with clock.running("train"):
        now[0] += 5
        clock.save(tmp_path / "clock")  # in mid-epoch
        now[0] += 2
    now[0] += 50
    with clock.running("valid"):
        now[0] += 1
        clock.note_target(is_reached=False)
        clock.note_target(is_reached=True)
        now[0] += 1
        clock.note_target(is_reached=True)
    assert (clock.train_s, clock.valid_s, clock.total_s) == (7.0, 2.0, 9.0)
    assert clock.target_reached_s == 8.0
    again = TrainClock()
    again.load(tmp_path / "clock", False)
    assert (again.total_s, again.target_reached_s) == (5.0, None)


def test_clock_refuses_nested_parts():
    clock = TrainClock()
    with clock.running("train"), pytest.raises(RuntimeError, match="train"):
        clock.running("valid").__enter__()


def draw():
    return random.random(), np.random.rand(), np.random.randn(), torch.rand(2).tolist()  # noqa: NPY002


def test_rng_states_come_back_for_all_streams(tmp_path):
    seed_by_rank(7)
    draw()
    RngStates().save(tmp_path / "rng")
    expected = draw()
    draw()
    RngStates().load(tmp_path / "rng", True)
    assert draw() == expected


def test_rng_state_is_read_without_pickles(tmp_path):
    torch.save([rng_state()], tmp_path / "rng")
    set_rng_state(torch.load(tmp_path / "rng", weights_only=True)[0])


def test_preserved_rng_hides_what_a_loader_draws():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    with preserved_rng():
        iter(torch.utils.data.DataLoader([1, 2]))
    assert torch.equal(torch.rand(3), expected)


def test_loss_meter_weighs_units_and_leaves_out_nonfinite():
    meter = LossMeter("cpu")
    for total, count in [(2.0, 1), (1.0, 3), (math.inf, 7), *[(0.0, 0)] * 17]:
        meter.add(LossSum(torch.tensor(total), count))
    assert meter.merge() == (0.75, 1)
    meter.add(LossSum(torch.tensor(math.nan), 1))
    mean, num_nonfinite = meter.merge()
    assert math.isnan(mean)  # 2 of 21 are too many
    assert num_nonfinite == 2
    assert math.isnan(LossMeter("cpu").merge()[0])


def test_session_without_launcher_starts_no_group():
    options = RunOptions()
    with distributed_session(options) as given:
        assert given is options
        assert world_size() == 1
        assert gather_list(iter("ab")) == ["a", "b"]


def test_session_under_bare_srun_is_refused(monkeypatch):
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    with pytest.raises(RuntimeError, match="torchrun"), distributed_session(RunOptions()):
        pass


def test_scores_with_a_double_are_refused():
    class Stats:
        ids = ("a", "b", "a")
        scores = (1, 2, 3)

    with pytest.raises(ValueError, match="scored twice, first a"):
        gather_scores(Stats())


@pytest.mark.parametrize("longest", [7, 16_000, 480_000, 9_600_000])
def test_absolute_lengths_are_exact(longest):
    """A product in float32 would miss one length in forty of up to ten minutes by a sample."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, longest + 1, (5000,), generator=generator)
    padded = torch.empty(1, 1).expand(1, longest)
    assert torch.equal(absolute(lengths.float() / longest, padded), lengths)


@pytest.mark.parametrize(("ranks", "cores"), [(None, 4), ("2", 2), ("8", 1)])
def test_cores_are_shared_by_the_ranks_of_a_machine(monkeypatch, ranks, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(4)))
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    if ranks is not None:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", ranks)
    assert own_cores() == cores
