"""The learning rate of each way, chosen on validation data from one grid for all."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

from comparing.figures import is_higher_better
from comparing.groups import STATES
from comparing.jobs import Job
from comparing.options import Comparison
from comparing.records import read_record
from comparing.run_files import ROOT


def fixed_rates(what: Comparison) -> dict[str, float | None]:
    """Return the rates without a choice: the only one of the grid, or None.

    None stands for that of the run file, or for one that tuning has yet to choose.
    """
    rate = what.rates[0] if len(what.rates) == 1 else None
    return dict.fromkeys(what.ways, rate)


def best_rates(
    what: Comparison, jobs: Sequence[Job]
) -> tuple[dict[str, float | None], list[dict[str, Any]]]:
    """Return the best rate of each way, and the figures that chose it.

    Arguments
    ---------
    what : Comparison
        Names the figure.
    jobs : Sequence[Job]
        Runs of every way at every rate; one that diverged is worse than any other. None: nothing is
        chosen.

    Returns
    -------
    tuple
        (way -> rate, rows of way, rate, figure, diverged); a run that diverged has no figure.

    Raises
    ------
    ValueError
        If a run has not ended or is of another command; or if a way has no figure at all, or
        diverged at every rate.
    """
    if not jobs:
        return fixed_rates(what), []
    _check_ended(jobs)
    rows: list[dict[str, Any]] = []
    for job in jobs:
        best = None
        if job.state == "done":
            best = read_record(ROOT / job.folder, metric=what.valid_metric).best
        row = {"way": job.way, "rate": job.rate, "diverged": job.state == "diverged"}
        rows.append({**row, what.valid_metric: best})
    rates: dict[str, float | None] = {}
    for way in what.ways:
        own = {row["rate"]: row[what.valid_metric] for row in rows if row["way"] == way}
        known = {r: value for r, value in own.items() if value is not None and isfinite(value)}
        if not known:
            raise ValueError(
                f"comparison: {way} diverged or was never validated at each of the rates "
                f"{[*own]}; expected a figure of one of them; give lower rates."
            )
        choose = max if is_higher_better(what.valid_metric) else min
        rates[way] = choose(known, key=lambda rate: known[rate])
    return rates, rows


def _check_ended(jobs: Sequence[Job]) -> None:
    states = {state: [job.title for job in jobs if job.state == state] for state in STATES}
    found = [(state, names) for state, names in states.items() if names and state != "diverged"]
    if found:
        told = "\n".join(f"- {STATES[state]}: {'; '.join(names)}" for state, names in found)
        raise ValueError(
            f"comparison: the runs that choose learning rates are not all there:\n{told}\n"
            "expected each, made by this comparison's command: no rate of a way is known without "
            "them; run them first, and move those of another command away."
        )
