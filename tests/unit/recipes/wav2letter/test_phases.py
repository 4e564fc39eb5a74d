"""Phases: rates, clipping and linear segmentation by epoch."""

import pytest

from recipes.LibriSpeech.wav2letter.phases import Phases

FIRST = {"lr": 0.6, "lr_criterion": 0.006, "max_grad_norm": 0.2}
NEXT = {"lr": 0.1, "lr_criterion": 0.001, "max_grad_norm": 0.25}


def test_lexicon_free_phases_count_their_own_epochs():
    phases = Phases(
        [
            {**FIRST, "num_epochs": 25, "linseg_epochs": 1},
            {**NEXT, "num_epochs": 7},
            {**NEXT, "step_epochs": 4, "gamma": 0.9},
        ]
    )
    plans = [phases.at(epoch) for epoch in range(1, 103)]
    assert [epoch for epoch, plan in enumerate(plans, 1) if plan.is_linear] == [1]
    assert {plan.lr for plan in plans[:25]} == {0.6}
    assert [plan.max_grad_norm for plan in plans[24:26]] == [0.2, 0.25]
    assert [plan.lr for plan in plans[25:36]] == [0.1] * 11
    assert plans[36].lr == pytest.approx(0.09)
    assert plans[101].lr == pytest.approx(0.1 * 0.9**17)
    assert plans[101].lr_criterion == pytest.approx(plans[101].lr / 100)


def test_tds_rate_is_halved_every_forty_epochs():
    phases = Phases([{**FIRST, "lr": 0.05, "step_epochs": 40, "gamma": 0.5}])
    rates = [phases.at(epoch).lr for epoch in (1, 40, 41, 80, 81, 200)]
    assert rates == [0.05, 0.05, 0.025, 0.025, 0.0125, 0.05 / 16]


def test_linear_segmentation_may_have_rates_of_its_own():
    own = {"linseg_epochs": 2, "linseg_lr": 0.3, "linseg_lr_criterion": 0.005}
    phases = Phases([{**FIRST, **own}])
    assert [phases.at(e).lr for e in (1, 2, 3)] == [0.3, 0.3, 0.6]
    assert [phases.at(e).lr_criterion for e in (2, 3)] == [0.005, 0.006]


def test_all_faults_are_named():
    with pytest.raises(ValueError, match="phase 1: lr is 0; expected > 0") as caught:
        Phases([{**FIRST, "lr": 0}, {**NEXT, "num_epochs": "7"}, {"lr": 1, "rate": 2}])
    text = str(caught.value)
    assert "phase 1: num_epochs is null; expected so in the last only" in text
    assert "phase 2: num_epochs is '7'; expected a number" in text
    assert "phase 3: unknown keys ['rate'], missing keys ['lr_criterion', 'max_grad_norm']" in text
    with pytest.raises(ValueError, match="there is none"):
        Phases([])
