"""The tables of a comparison, as plain rows: Markdown, HTML and JSON show the same ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from comparing.groups import STATES, Group
from comparing.options import Comparison
from comparing.statistics import Summary, summarise
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

    @property
    def markdown(self) -> str:
        """The text, as a link if it is one."""
        text = self.text.replace("|", "\\|")
        return text if self.link is None else f"[{text}]({self.link.replace(' ', '%20')})"


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
        cells = [[cell.markdown for cell in row] for row in self.rows]
        return [*lines, *("| " + " | ".join(row) + " |" for row in cells), ""]


def figures_of(what: Comparison, group: Group) -> dict[str, dict[str, dict[int, Any]]]:
    """Return way -> figure -> seed -> value.

    "valid_at" is the best validation at equal seconds, see `Group.best_at_equal_seconds`. A run
    that diverged has no figure (None).

    Arguments
    ---------
    what : Comparison
        Names the metrics.
    group : Group
        Runs of one variant and budget.

    Returns
    -------
    dict
        As said.
    """
    rows: dict[str, dict[int, dict[str, Any]]] = {}
    for way, own in group.records.items():
        rows[way] = {seed: {} for seed in sorted([*own, *group.seeds(way, "diverged")])}
        for seed, record in own.items():
            best = group.best_at_equal_seconds(record)
            own_figures = record.figures(what.metrics, target=what.target)
            rows[way][seed] = {**own_figures, "valid_at": best}
    names = dict.fromkeys(name for own in rows.values() for row in own.values() for name in row)
    return {
        way: {name: {seed: row.get(name) for seed, row in own.items()} for name in names}
        for way, own in rows.items()
    }


def main_table(title: str, what: Comparison, group: Group) -> Table:
    """Return a row for each way: medians over seeds, with the interval of the mean."""
    figures = figures_of(what, group)
    names = [*what.metrics, *(n for n in COLUMNS if n not in ("wer", "wer_p", "cer_p"))]
    names = [name for name in names if any(_any(own, name) for own in figures.values())]
    ways = ways_of(what.processes)
    rows = []
    for way, own in figures.items():
        cells = [Cell(f"{way}: {ways[way].about}{_not_there(group, way)}", way)]
        diverged = group.seeds(way, "diverged")
        if diverged:
            told = f"diverged ({len(diverged)} of {len(group.records[way]) + len(diverged)})"
            cells += [Cell(told, None) for _ in names]
        else:
            cells += [_cell(own.get(name, {}), name) for name in names]
        rows.append(cells)
    num = max(len(own) for own in group.records.values())
    about = (
        f"Median over {num} seeds (95 % interval of the mean by Student's t). Test figures are of "
        "the checkpoint that was best on validation data. Seconds are of training and validation; "
        f"{_equal_seconds(group)} There a model counts from the start of its validation; a target "
        "is reached when the validation that shows it ends. A dash: not every seed has the figure "
        "(a target that one of them never reached), or the way has none. "
        "Diverged: loss or parameters of so many seeds became infinite; the others' figures alone "
        "would flatter, see the JSON for them."
    )
    return Table(title, about, ["way", *(COLUMNS.get(name, name) for name in names)], rows)


def _equal_seconds(group: Group) -> str:
    if not group.runs:
        return "no run has ended."
    told = f"equal seconds: {group.equal_s:.0f}, "
    if group.limit_s is not None:
        return f"{told}the budget."
    return (
        f"{told}those of the run that ended first; its figure there is that of its last model, the "
        "others' best so far is interpolated between the models that were there before and after."
    )


def _not_there(group: Group, way: str) -> str:
    counts = Counter(state for state in group.absent[way].values() if state != "diverged")
    all_ = group.num_seeds(way)
    return "".join(f" ({num} of {all_} {STATES[state]})" for state, num in counts.items())


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
