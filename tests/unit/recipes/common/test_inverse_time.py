"""The schedule of Keras 2 optimizers with decay."""

import pytest

from recipes.common.schedule import UpdateSchedule, inverse_time


def test_inverse_time_falls_as_in_keras():
    rates = [inverse_time(update, initial=1e-4, decay=0.01) for update in range(21)]
    assert rates[0] == 1e-4
    assert rates[20] == pytest.approx(8.333e-5, rel=1e-3)
    assert all(late < early for early, late in zip(rates, rates[1:], strict=False))


def test_inverse_time_is_taken_as_a_schedule_of_updates():
    UpdateSchedule(lambda update: inverse_time(update, initial=1.0, decay=0.1))
