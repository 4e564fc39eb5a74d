"""Learning-rate schedules: which callables fit, and what rates they set."""

from functools import partial

import pytest
import torch
from speechbrain.nnet import schedulers

from recipes.common.schedule import (
    UpdateSchedule,
    ValidSchedule,
    inverse_square_root,
    warmup_hold_decay,
)


def optimizer(*scales):
    groups = [{"params": [torch.nn.Parameter(torch.ones(1))], **scale} for scale in scales or [{}]]
    return torch.optim.SGD(groups, lr=1.0)


def rates(of):
    return [group["lr"] for group in of.param_groups]


def test_inverse_square_root_begins_at_zero_and_peaks():
    curve = [inverse_square_root(u, peak=0.4, num_warmup=4) for u in (0, 1, 4, 16)]
    assert curve == pytest.approx([0.0, 0.1, 0.4, 0.2])


def test_warmup_hold_decay_keeps_its_final_share():
    shape = {"peak": 1.0, "num_warmup": 2, "num_hold": 3, "num_decay": 4, "final_share": 0.2}
    curve = [warmup_hold_decay(u, **shape) for u in (0, 1, 2, 5, 7, 9, 99)]
    assert curve == pytest.approx([1 / 3, 2 / 3, 1.0, 1.0, 0.6, 0.2, 0.2])


def test_update_schedule_by_function_scales_groups_of_all_optimizers():
    first, second = optimizer({}, {"rate_scale": 0.5}), optimizer()
    schedule = UpdateSchedule(partial(inverse_square_root, peak=0.4, num_warmup=4))
    schedule.set_rates([first, second], update=2)
    assert rates(first) == pytest.approx([0.2, 0.1])
    assert rates(second) == pytest.approx([0.2])


@pytest.mark.parametrize(
    ("scheduler", "expected"),
    [
        (schedulers.NoamScheduler(1.0, 4), [0.25, 0.5]),
        (schedulers.WarmCoolDecayLRSchedule(1.0, 4, 4, total_steps=20), [0.25, 0.5]),
    ],
)
def test_update_schedule_takes_speechbrain_schedulers(scheduler, expected):
    schedule, of = UpdateSchedule(scheduler), optimizer()
    found = []
    for update in range(2):
        schedule.set_rates([of], update=update)
        found += rates(of)
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    "scheduler",
    [schedulers.NewBobScheduler(1.0), schedulers.LinearScheduler(1.0, 0.0, 2), lambda a, b: 1.0],
)
def test_update_schedule_refuses_others(scheduler):
    with pytest.raises(ValueError, match="update_schedule"):
        UpdateSchedule(scheduler)


@pytest.mark.parametrize(
    ("scheduler", "expected"),
    [
        (schedulers.NewBobScheduler(1.0, annealing_factor=0.5), [1.0, 0.5]),
        (schedulers.StepScheduler(1.0, decay_factor=0.5, decay_drop=2), [0.5, 0.5]),
        (
            schedulers.ReduceLROnPlateau(factor=0.5, patience=0, dont_halve_until_epoch=1),
            [1.0, 0.5],
        ),
    ],
)
def test_valid_schedule_takes_speechbrain_schedulers(scheduler, expected):
    schedule, of = ValidSchedule(scheduler), optimizer()
    found = []
    for epoch, metric in ((1, 10.0), (2, 10.1)):
        schedule.set_rates([of], epoch=epoch, metric=metric)
        found += rates(of)
    assert found == pytest.approx(expected)


def test_valid_schedule_refuses_others():
    with pytest.raises(ValueError, match="valid_schedule"):
        ValidSchedule(schedulers.NoamScheduler(1.0, 4))
