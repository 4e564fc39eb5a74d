"""The learning rate of each way, chosen on validation data from one grid for all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from comparing.jobs import ROOT, Job
from comparing.options import Comparison
from comparing.records import read_record


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
        Finished runs of every way at every rate.

    Returns
    -------
    tuple
        (way -> rate, rows of way, rate, figure).

    Raises
    ------
    ValueError
        If a way has no figure at all.
    """
    rows: list[dict[str, Any]] = []
    for job in jobs:
        record = read_record(ROOT / job.folder, metric=what.valid_metric)
        rows.append({"way": job.way, "rate": job.rate, what.valid_metric: record.best})
    rates: dict[str, float | None] = {}
    for way in what.ways:
        own = [row for row in rows if row["way"] == way and row[what.valid_metric] is not None]
        if not own:
            raise ValueError(f"comparison: {way} was never validated; expected it in each run.")
        rates[way] = min(own, key=lambda row: row[what.valid_metric])["rate"]
    return rates, rows
