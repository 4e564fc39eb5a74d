"""The differences between ways, of each pair, with a verdict only where the seeds allow one."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from typing import Any

from comparing.figures import is_higher_better
from comparing.groups import Group
from comparing.options import Comparison
from comparing.statistics import verdict
from comparing.tables import COLUMNS, Cell, Table, figures_of

FIGURES = ("valid_at", "target_s", "utterances_per_s")
"""Looked at besides the metrics of the test; all depend on how fast the machine is."""
Values = Mapping[int, Any]


def verdict_table(title: str, what: Comparison, group: Group) -> Table:
    """Return the differences within each pair of ways, where intervals allow a verdict."""
    figures = figures_of(what, group)
    rows = []
    for name in (*what.metrics, *FIGURES):
        # A budget of seconds lets a faster machine train more.
        is_timed = name in FIGURES or group.limit_s is not None
        for base, way in itertools.combinations(figures, 2):
            apart = group.on_other_machines(way, base) if is_timed else []
            row = _verdict_row(
                name,
                (way, _without(apart, figures[way].get(name, {}))),
                (base, figures[base].get(name, {})),
                more_is_good=is_higher_better(what.valid_metric if name == "valid_at" else name),
                are_apart=bool(apart),
            )
            rows.append(row)
    about = (
        "Difference of two ways, in pairs of seeds, with its 95 % interval by Student's t; a "
        f"verdict only where the interval leaves out 0. {len(rows)} differences are looked at: of "
        "twenty that are none, one would seem to be by chance. Runs of different machines are no "
        "pair in what depends on time."
    )
    header = ["figure", "way", "minus", "difference", "interval", "verdict"]
    return Table(title, about, header, rows)


def _without(seeds: Collection[int], values: Values) -> Values:
    return {seed: value for seed, value in values.items() if seed not in seeds}


def _verdict_row(
    name: str,
    this: tuple[str, Values],
    that: tuple[str, Values],
    *,
    more_is_good: bool,
    are_apart: bool,
) -> list[Cell]:
    (way, values), (base, base_values) = this, that
    heading, found = COLUMNS.get(name, name), verdict(values, base_values)
    cells = [Cell(heading, heading), Cell(way, way), Cell(base, base)]
    if found is None:
        reason = _reason(values, base_values, are_apart=are_apart)
        return [*cells, Cell("-", None), Cell("-", None), Cell(reason, "~")]
    words = "no difference shown"
    if found.is_shown:
        is_good = (found.difference > 0) == more_is_good
        words = f"{way} is {'better' if is_good else 'worse'} than {base}"
    return [
        *cells,
        Cell(f"{found.difference:+.2f}", found.difference),
        Cell(f"{found.low:+.2f} to {found.high:+.2f}", found.high - found.low),
        Cell(words, words),
    ]


def _reason(values: Values, base_values: Values, *, are_apart: bool) -> str:
    if len(values.keys() & base_values.keys()) < 2:
        return "too few pairs on the same machine" if are_apart else "too few pairs"
    return "not every seed has it"
