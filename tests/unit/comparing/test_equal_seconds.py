"""What ways are compared at the same seconds of the clock."""

from pathlib import Path

import pytest

from comparing.groups import group
from comparing.jobs import jobs_of
from comparing.records import read_record
from comparing.tables import figures_of, main_table
from comparing.tuning import fixed_rates
from tests.unit.comparing.runs import end_job, small_comparison


def test_curve_between_models_lies_on_the_straight_line(root):
    (job,) = jobs_of(small_comparison(ways=["one"], seeds=[0]), Path("runs"), {"one": None})
    end_job(root, job, curve=[(1, 10.5, 80.0), (2, 20.0, 90.0), (3, 30.0, 20.0)])
    record = read_record(root / job.folder, metric="wer")
    assert [point.began_s for point in record.curve] == [10.0, 19.5, 29.5]
    assert record.best_at(9.9) is None
    # The best so far: the second model is worse, and counts for nothing.
    figures = [record.best_at(seconds) for seconds in (10.0, 15.0, 19.5, 24.5, 29.5, 99.0)]
    assert figures == [80.0, 80.0, 80.0, 50.0, 20.0, 20.0]


def test_equal_seconds_are_those_of_the_run_that_ended_first(root):
    what = small_comparison(seeds=[0])
    one, hogwild = jobs_of(what, Path("runs"), fixed_rates(what))
    end_job(root, one, curve=[(100, 10.5, 90.0), (200, 20.5, 40.0)])
    end_job(root, hogwild, curve=[(100, 6.5, 90.0), (200, 12.5, 50.0)])
    (found,) = group(what, [one, hogwild]).values()
    assert found.equal_s == 12.0
    figures = figures_of(what, found)
    assert figures["hogwild"]["valid_at"] == {0: 50.0}
    # Its models were there at 10 and 20 s; the first one's 90 would be 2 s old.
    assert figures["one"]["valid_at"] == {0: 80.0}
    about = main_table("", what, found).about
    assert "equal seconds: 12, those of the run that ended first; its figure" in about
    assert "interpolated between the models" in about
    assert "a target is reached when the validation that shows it ends" in about


def test_ways_that_learn_alike_are_alike_at_equal_seconds(root):
    """One ends its utterances a little earlier; both lie on the same line over seconds."""
    what = small_comparison(seeds=[0])
    jobs = list(jobs_of(what, Path("runs"), fixed_rates(what)))
    for job, each_s in zip(jobs, (10.0, 9.5), strict=True):
        curve = [(100 * n, each_s * n, 100.0 - 2.0 * each_s * n) for n in range(1, 5)]
        end_job(root, job, curve=curve, validation_s=0.0)
    (found,) = group(what, jobs).values()
    assert found.equal_s == 38.0
    values = [own["valid_at"][0] for own in figures_of(what, found).values()]
    assert values == pytest.approx([24.0, 24.0])


def test_slow_validation_of_the_last_model_does_not_count(root):
    what = small_comparison(
        seeds=[0], budgets={"seconds": {"max_seconds": 20}, "utterances": {}}, ways=["one", "ddp"]
    )
    jobs = list(jobs_of(what, Path("runs"), fixed_rates(what)))
    for job in jobs:
        # Both had their models at 10 and 20 s; one validates for 1 s, the other for 5 s.
        took_s = 1.0 if job.way == "one" else 5.0
        curve = [(100, 10.0 + took_s, 50.0), (200, 20.0 + took_s, 30.0)]
        end_job(root, job, curve=curve, validation_s=took_s)
    groups = group(what, jobs)
    assert len(groups) == 2
    for found in groups.values():
        assert found.equal_s == 20.0
        for own in figures_of(what, found).values():
            assert own["valid_at"] == {0: 30.0}


def test_budget_of_seconds_counts_the_model_of_the_update_that_passed_it(root):
    what = small_comparison(seeds=[0], budgets={"seconds": {"max_seconds": 20}}, ways=["one"])
    jobs = list(jobs_of(what, Path("runs"), fixed_rates(what)))
    end_job(root, jobs[0], curve=[(100, 11.0, 50.0), (200, 20.9, 30.0)])
    (found,) = group(what, jobs).values()
    assert figures_of(what, found)["one"]["valid_at"] == {0: 30.0}
