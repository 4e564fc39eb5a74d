"""Runs what is missing of a comparison, and reports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from comparing.groups import group
from comparing.jobs import Job, jobs_of, run
from comparing.options import Comparison
from comparing.report import write_report
from comparing.run_files import ROOT
from comparing.tuning import best_rates


def run_all(jobs: Sequence[Job]) -> None:
    """Run jobs one after the other; those that have ended before are passed over."""
    with tqdm(jobs, unit="run", dynamic_ncols=True) as bar:
        for job in bar:
            bar.set_description(job.title)
            run(job)


def run_single(
    what: Comparison, folder: Path, tuning: Sequence[Job], *, number: int, stage: str
) -> None:
    """Run one job: that of a number, of the tuning or of what follows it."""
    jobs = tuning
    if stage != "tuning":
        rates, _ = best_rates(what, tuning)
        jobs = list(jobs_of(what, folder, rates))
    run(jobs[number])


def compare(
    what: Comparison, folder: Path, tuning: Sequence[Job], *, command: str, only_report: bool
) -> Path:
    """Run what is missing, unless only a report is asked for; return its path."""
    if not only_report:
        run_all(tuning)
    rates, figures = best_rates(what, tuning)
    jobs = list(jobs_of(what, folder, rates))
    if not only_report:
        run_all(jobs)
    groups = group(what, jobs)
    if not any(found.has_ended for found in groups.values()):
        others = [own for found in groups.values() for own in found.absent_in("other").values()]
        raise ValueError(
            f"{folder}: no run has ended, and {sum(map(len, others))} were made by another "
            "command; expected one at least for a report."
        )
    return write_report(
        what, groups, folder=ROOT / folder, command=command, rates=rates, tuning=figures
    )
