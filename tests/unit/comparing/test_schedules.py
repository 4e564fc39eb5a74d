"""Updates that the ways made, beside those that their schedules count on."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from comparing.groups import group
from comparing.jobs import jobs_of
from comparing.report import write_report
from comparing.schedules import schedule_warnings
from comparing.tuning import fixed_rates
from tests.unit.comparing.runs import end_job, small_comparison


def made(root, what, updates):
    """Return the groups of a comparison whose ways made so many updates for 200 utterances."""
    jobs = list(jobs_of(what, Path("runs"), fixed_rates(what)))
    for job in jobs:
        if job.way in updates:
            end_job(root, job, seed=job.seed, updates=updates[job.way] + job.seed)
    return group(what, jobs)


WAYS = {"one": 1000, "accumulation": 501, "small_batch": 2490, "hogwild": 1000}


def test_way_with_other_updates_than_its_schedule_counts_on_is_told(root):
    what = small_comparison(ways=[*WAYS], updates={"hogwild": 1.2})
    (told,) = schedule_warnings(what, made(root, what, WAYS))
    assert "small_batch made 2.49, not 2; hogwild made 1, not 1.2" in told
    given = json.loads(told.split("--comparison.updates ")[1].strip("'"))
    again = replace(what, updates=given)
    assert given == {"hogwild": 1.0, "small_batch": 2.49}
    assert schedule_warnings(again, made(root, again, WAYS)) == []


def test_report_says_what_schedules_count_on_and_warns(root):
    what = small_comparison(ways=[*WAYS])
    groups = made(root, what, WAYS)
    rates = fixed_rates(what)
    text = write_report(what, groups, folder=root, command="", rates=rates).read_text()
    assert "- warning: schedules (plain, utterances) end" in text
    counted = "one 1, accumulation 0.5, small_batch 2, hogwild 1"
    assert f"- updates per utterance that schedules count on: {counted}\n" in text


@pytest.mark.parametrize(
    ("options", "updates"),
    [
        ({"schedule": {}, "ways": ["one", "hogwild"]}, {**WAYS, "hogwild": 1500}),  # none counted
        ({}, {"small_batch": 2490}),  # no way with the batch of one process
        ({}, {**WAYS, "small_batch": 2080}),  # near enough
        ({}, dict.fromkeys(WAYS, 0)),  # nothing was trained
    ],
)
def test_no_warning_without_cause(root, options, updates):
    what = small_comparison(**{"ways": [*WAYS], "seeds": [0], **options})
    assert schedule_warnings(what, made(root, what, updates)) == []


def test_schedule_of_a_way_follows_the_updates_that_are_given():
    what = small_comparison(ways=["small_batch"], seeds=[0], updates={"small_batch": 2.5})
    (job,) = jobs_of(what, Path("runs"), fixed_rates(what))
    command = " ".join(job.command)
    assert "--num_warmup 500 --num_hold 3500 --num_decay 2500 --max_batch_s 10.0" in command
