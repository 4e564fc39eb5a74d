"""The learning rate of each way, chosen on validation data from one grid for all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from comparing.jobs import Job
from comparing.options import Comparison
from comparing.records import read_record
from comparing.run_files import ROOT


def fixed_rates(what: Comparison) -> dict[str, float | None]:
    """Return the rates without a choice: the only one of the grid, or that of the run file."""
    rate = what.rates[0] if what.rates else None
    return dict.fromkeys(what.ways, rate)


def best_rates(
    what: Comparison, jobs: Sequence[Job]
) -> tuple[dict[str, float | None], list[dict[str, Any]]]:
    """Return the best rate of each way, and the figures that chose it.

    Arguments
    ---------
    what : Comparison
        Names the figure; the lower the better.
    jobs : Sequence[Job]
        Finished runs of every way at every rate; one that diverged is worse than any other.

    Returns
    -------
    tuple
        (way -> rate, rows of way, rate, figure, diverged); a run that diverged has no figure.

    Raises
    ------
    ValueError
        If a way has no figure at all, or diverged at every rate.
    """
    rows: list[dict[str, Any]] = []
    for job in jobs:
        best = None
        if not job.is_diverged:
            best = read_record(ROOT / job.folder, metric=what.valid_metric).best
        row = {"way": job.way, "rate": job.rate, "diverged": job.is_diverged}
        rows.append({**row, what.valid_metric: best})
    rates: dict[str, float | None] = {}
    for way in what.ways:
        costs = {row["rate"]: _cost(row, what.valid_metric) for row in rows if row["way"] == way}
        if not any(math.isfinite(cost) for cost in costs.values()):
            raise ValueError(
                f"comparison: {way} diverged or was never validated at each of the rates "
                f"{[*costs]}; expected a figure of one of them; give lower rates."
            )
        rates[way] = min(costs, key=lambda rate: costs[rate])
    return rates, rows


def _cost(row: dict[str, Any], metric: str) -> float:
    return math.inf if row[metric] is None or row["diverged"] else float(row[metric])
