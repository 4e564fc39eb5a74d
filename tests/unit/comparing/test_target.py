"""The time to a target that is chosen when the runs have ended."""

import json
from dataclasses import replace
from math import nan
from pathlib import Path

import pytest

from comparing.figures import is_reached
from comparing.groups import group
from comparing.jobs import jobs_of
from comparing.records import read_record
from comparing.report import write_report
from comparing.tuning import fixed_rates
from tests.conftest import ROOT
from tests.unit.comparing.runs import end_job, small_comparison

OWN = sorted(ROOT.glob("benchmarks/results/*-compare*_runs/*/*/*/seed_*/run.json"))


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [("wer", 3.0, True), ("wer", 2.0, True), ("wer", 4.0, False), ("bleu", 4.0, True)],
)
def test_target_is_reached_from_the_better_side(name, value, wanted):
    assert is_reached(name, value, 3.0) is wanted
    assert not is_reached(name, nan, 3.0)


@pytest.mark.skipif(not OWN, reason="no records of runs under benchmarks/results")
def test_seconds_to_the_target_of_a_run_are_those_that_it_noted_itself():
    reached = 0
    for path in OWN:
        record = read_record(path.parent, metric="wer")
        noted = record.seconds_to(None)
        reached += noted is not None
        # The log is written a moment before the run notes it.
        assert record.seconds_to(record.run["target"]["wer"]) == pytest.approx(noted, abs=0.1)
    assert reached > 10


def test_report_may_be_written_again_with_another_target(root):
    what = small_comparison(ways=["one"])
    jobs = list(jobs_of(what, Path("runs"), fixed_rates(what)))
    for job in jobs:
        curve = [(100, 10.0, 90.0), (200, 20.0 + job.seed, 50.0), (300, 30.0, 45.0)]
        end_job(root, job, curve=curve, seed=job.seed)
    seconds, told = {}, {}
    for target in (None, 50.0, 45.0, 10.0):
        now = replace(what, target=target)
        own = list(jobs_of(now, Path("runs"), fixed_rates(now)))
        assert [job.state for job in own] == ["done"] * 3  # the runs are the same ones
        path = write_report(now, group(now, own), folder=root, command="", rates=fixed_rates(now))
        record = json.loads((root / "compare.json").read_text())
        seconds[target] = list(record["figures"][0]["ways"]["one"]["target_s"].values())
        told[target] = next(
            line for line in path.read_text().splitlines() if "target in validation" in line
        )
    assert seconds == {
        None: [None] * 3,
        50.0: [20.0, 21.0, 22.0],
        45.0: [30.0] * 3,
        10.0: [None] * 3,
    }
    assert told[None] == "- target in validation: wer 40"
    assert told[50.0] == "- target in validation: wer 50"
