"""Intervals and verdicts, beside scipy's own tests."""

import numpy as np
import pytest
from scipy import stats

from comparing.statistics import NO_DIFFERENCE, geometric_ratio, summarise, verdict


@pytest.mark.parametrize("num", [2, 3, 9])
def test_interval_is_that_of_scipy(num):
    values = np.random.default_rng(num).normal(20, 3, num)
    found = summarise(list(values))
    wanted = stats.t.interval(0.95, num - 1, loc=values.mean(), scale=stats.sem(values))
    assert (found.low, found.high) == pytest.approx(wanted)
    assert found.median == np.median(values)


def test_one_value_has_no_interval_and_none_no_summary():
    assert summarise([3.0]).as_text() == "3.00"
    assert summarise([3.0]).low is None
    assert summarise([]) is None
    assert summarise([1.0, None]) is None
    assert summarise([1.0, float("nan")]) is None


@pytest.mark.parametrize("shift", [0.0, 0.3, 5.0])
def test_verdict_agrees_with_the_paired_t_test(shift):
    random = np.random.default_rng(7)
    that = dict(enumerate(random.normal(20, 3, 6)))
    this = {seed: value + shift + random.normal(0, 0.3) for seed, value in that.items()}
    p_value = stats.ttest_rel(list(this.values()), list(that.values())).pvalue
    found = verdict(this, that)
    assert found.is_shown == (p_value < 0.05)
    assert found.difference == pytest.approx(np.mean([this[s] - that[s] for s in that]))


def test_verdict_needs_two_pairs_and_all_figures():
    assert verdict({0: 1.0}, {0: 2.0}) is None
    assert verdict({0: 1.0, 1: 2.0}, {2: 1.0, 3: 2.0}) is None
    assert verdict({0: 1.0, 1: None, 2: 3.0}, {0: 1.0, 1: 2.0, 2: 2.0}) is None


def test_false_verdicts_are_as_rare_as_they_should_be():
    random = np.random.default_rng(1)
    shown = 0
    for _ in range(1000):
        this, that = ({seed: random.normal() for seed in range(3)} for _ in range(2))
        shown += verdict(this, that).is_shown
    assert 25 <= shown <= 80  # 5 % of 1,000, give or take


@pytest.mark.parametrize("factor", [1.0, 1.25, 0.8])
def test_geometric_ratio_agrees_with_the_t_test_of_logarithms(factor):
    random = np.random.default_rng(3)
    that = list(random.uniform(1, 2, 6))
    this = [value * factor * random.uniform(0.97, 1.03) for value in that]
    found = geometric_ratio(this, that)
    logs = np.log(np.array(this) / that)
    low, high = stats.t.interval(0.95, 5, loc=logs.mean(), scale=stats.sem(logs))
    assert (found.low, found.high) == pytest.approx((np.exp(low), np.exp(high)))
    assert found.mean == pytest.approx(np.exp(logs.mean()))
    expected = {1.0: NO_DIFFERENCE, 1.25: "slower", 0.8: "faster"}[factor]
    assert found.verdict(resolution=0.01) == expected


def test_ratio_nearer_to_one_than_the_resolution_is_no_difference():
    found = geometric_ratio([1.0050, 1.0051, 1.0052], [1.0, 1.0, 1.0])
    assert found.low > 1.0
    assert found.verdict(resolution=0.01) == NO_DIFFERENCE
    assert found.verdict(resolution=0.001) == "slower"


def test_geometric_ratio_needs_two_units():
    assert geometric_ratio([1.0], [1.0]) is None
