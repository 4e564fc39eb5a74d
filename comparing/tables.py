"""The tables of a comparison, as plain rows: Markdown, HTML and JSON show the same ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from comparing.options import Comparison
from comparing.records import Record
from comparing.statistics import Summary, summarise, verdict
from comparing.ways import ways_of

COLUMNS = {
    "wer": "WER %",
    "wer_p": "WER-P %",
    "cer_p": "CER-P %",
    "valid": "valid",
    "valid_at": "valid at equal seconds",
    "target_s": "s to target",
    "total_s": "s in all",
    "utterances_per_s": "utterances/s",
    "updates_per_s": "updates/s",
    "staleness": "staleness",
    "staleness_p95": "staleness p95",
    "lost_updates_share": "lost updates",
}
"""Headings; a metric that is not here is its own heading."""


@dataclass(frozen=True)
class Cell:
    """One cell: what is shown, and what it is sorted by.

    Arguments
    ---------
    text : str
        Shown.
    value : float | str | None
        Sorted by; None comes last.
    link : str | None
        Where a click leads.
    """

    text: str
    value: float | str | None
    link: str | None = None


@dataclass(frozen=True)
class Table:
    """A titled table.

    Arguments
    ---------
    title : str
        Heading.
    about : str
        One or two sentences.
    header : Sequence[str]
        Headings of columns.
    rows : Sequence[Sequence[Cell]]
        Cells.
    """

    title: str
    about: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]

    def markdown(self) -> list[str]:
        """Return the lines in Markdown."""
        lines = [f"## {self.title}", "", self.about, "", "| " + " | ".join(self.header) + " |"]
        lines += ["|---" + "|--:" * (len(self.header) - 1) + "|"]
        cells = [[cell.text.replace("|", "\\|") for cell in row] for row in self.rows]
        return [*lines, *("| " + " | ".join(row) + " |" for row in cells), ""]


Records = Mapping[str, Mapping[int, Record]]
"""Way -> seed -> run, of one variant and budget."""


def figures_of(what: Comparison, records: Records) -> dict[str, dict[str, dict[int, Any]]]:
    """Return way -> figure -> seed -> value.

    "valid_at" is the best validation within the seconds of the run that ended first.

    Arguments
    ---------
    what : Comparison
        Names the metrics.
    records : Records
        Runs of one variant and budget.

    Returns
    -------
    dict
        As said.
    """
    shortest_s = min(record.total_s for own in records.values() for record in own.values())
    found: dict[str, dict[str, dict[int, Any]]] = {}
    for way, own in records.items():
        rows = {
            seed: {**record.figures(what.metrics), "valid_at": record.best_within(shortest_s)}
            for seed, record in own.items()
        }
        names = dict.fromkeys(name for row in rows.values() for name in row)
        found[way] = {name: {seed: row[name] for seed, row in rows.items()} for name in names}
    return found


def main_table(title: str, what: Comparison, records: Records) -> Table:
    """Return a row for each way: medians over seeds, with the interval of the mean."""
    figures = figures_of(what, records)
    names = [*what.metrics, *(n for n in COLUMNS if n not in ("wer", "wer_p", "cer_p"))]
    names = [name for name in names if any(_any(own, name) for own in figures.values())]
    ways = ways_of(what.processes)
    rows = []
    for way, own in figures.items():
        cells = [Cell(f"{way}: {ways[way].about}", way)]
        cells += [_cell(own.get(name, {}), name) for name in names]
        rows.append(cells)
    num = max(len(own) for own in records.values())
    shortest_s = min(record.total_s for own in records.values() for record in own.values())
    about = (
        f"Median over {num} seeds (95 % interval of the mean by Student's t). Test figures are of "
        "the checkpoint that was best on validation data. Seconds are of training and validation; "
        f"equal seconds: {shortest_s:.0f}, those of the run that ended first. A dash: not every "
        "seed has the figure (a target that one of them never reached), or the way has none."
    )
    return Table(title, about, ["way", *(COLUMNS.get(name, name) for name in names)], rows)


def _any(own: Mapping[str, Mapping[int, Any]], name: str) -> bool:
    return any(value is not None for value in own.get(name, {}).values())


def _cell(values: Mapping[int, Any], name: str) -> Cell:
    found = summarise(list(values.values()))
    if found is None:
        known = sum(value is not None for value in values.values())
        return Cell(f"- ({known} of {len(values)})" if known else "-", None)
    return Cell(found.as_text(form_of(name, found)), found.median)


def form_of(name: str, found: Summary) -> str:
    """Return how a figure is printed."""
    if name.endswith("_share"):
        return "{:.1e}"
    return "{:.0f}" if name.endswith("_s") and found.median >= 100 else "{:.2f}"


def verdict_table(title: str, what: Comparison, records: Records) -> Table:
    """Return the differences of each way from the first one, where intervals allow a verdict."""
    figures = figures_of(what, records)
    base = next(iter(figures))
    rows = [
        _verdict_row(name, figures[way].get(name, {}), figures[base].get(name, {}), way)
        for name in (*what.metrics, "valid_at", "target_s", "utterances_per_s")
        for way in figures
        if way != base
    ]
    about = (
        f"Difference from `{base}`, in pairs of seeds, with its 95 % interval by Student's t; a "
        "verdict only where the interval leaves out 0. Many pairs are looked at, so one of twenty "
        "would differ by chance."
    )
    return Table(title, about, ["figure", "way", f"minus {base}", "interval", "verdict"], rows)


def _verdict_row(
    name: str, this: Mapping[int, Any], that: Mapping[int, Any], way: str
) -> list[Cell]:
    heading, found = COLUMNS.get(name, name), verdict(this, that)
    if found is None:
        return [
            Cell(heading, heading),
            Cell(way, way),
            Cell("-", None),
            Cell("-", None),
            Cell("too few pairs", "~"),
        ]
    words = "no difference shown"
    if found.is_shown:
        is_less = found.difference < 0
        is_good = is_less != (name == "utterances_per_s")
        words = f"{way} is {'better' if is_good else 'worse'}"
    return [
        Cell(heading, heading),
        Cell(way, way),
        Cell(f"{found.difference:+.2f}", found.difference),
        Cell(f"{found.low:+.2f} to {found.high:+.2f}", found.high - found.low),
        Cell(words, words),
    ]
