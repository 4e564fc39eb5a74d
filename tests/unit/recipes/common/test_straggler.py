"""A process that is slow on purpose sleeps in proportion to what it computes."""

import time

import pytest

from recipes.common.straggler import Straggler
from tests.unit.recipes.common.toy import ToyLoader, make_batches, make_brain


@pytest.mark.parametrize(("share", "ratio"), [(0.0, 0.0), (0.5, 1.0), (0.75, 3.0)])
def test_sleep_follows_the_time_computed(monkeypatch, share, ratio):
    busy_s, slept_s = iter([10.0, 12.0, 13.0]), []
    monkeypatch.setattr(time, "thread_time", lambda: next(busy_s))
    monkeypatch.setattr(time, "sleep", slept_s.append)
    straggler = Straggler(share)
    for _ in range(3):
        straggler.rest()
    assert slept_s == [2.0 * ratio, 1.0 * ratio]


@pytest.mark.parametrize(("number", "rests"), [(0, 3), (1, 0), (None, 0)])
def test_only_the_process_of_that_number_rests(monkeypatch, number, rests):
    seen = []
    monkeypatch.setattr(Straggler, "rest", lambda self: seen.append(1))
    brain, counter = make_brain(hparams={"straggler": number}, epochs=1)
    brain.fit(counter, ToyLoader(make_batches([2, 1, 3])))
    assert len(seen) == rests


def test_share_of_all_time_is_refused():
    with pytest.raises(ValueError, match=r"straggler_share: is 1.0; expected < 1"):
        make_brain(hparams={"straggler_share": 1.0})
