"""A table of all runs under a folder, from their run.json files; nothing is typed in by hand."""

from __future__ import annotations

import csv
import io
import json
import operator
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from comparing.figures import fault_of
from comparing.plots import curves_png
from comparing.records import Record, read_record
from comparing.tables import Cell, Table
from recipes.common import divergence

OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
HYPERPARAMETERS = {
    "batch": ("max_batch_s", "batch_size"),
    "accumulation": ("grad_accumulation_factor",),
    "lr": ("lr",),
}
"""Columns from hyperparams.yaml, and which of its keys they may be."""
CONDITION = re.compile(r"(\w+)(!=|<=|>=|=|<|>)(.*)")
Row = dict[str, Any]


def find_runs(folder: Path) -> Iterator[Path]:
    """Yield the folders of runs under a folder that have ended, also diverged ones, sorted."""
    names = ("run.json", divergence.FILE)
    yield from sorted({path.parent for name in names for path in folder.rglob(name)})


def row_of(run: Mapping[str, Any]) -> Row:
    """Return the columns of a run: how it was trained, and the figures of its first test set.

    Arguments
    ---------
    run : Mapping[str, Any]
        Its run.json.

    Returns
    -------
    dict
        Column -> plain value or None.
    """
    test_set, test = next(iter(run["results"].items()), (None, {}))
    workers = run.get("hogwild") or {}
    ranks = run.get("world_size", 1)
    way = "hogwild" if workers else "ddp" if ranks > 1 else "one"
    figures = {key: value for key, value in test.items() if isinstance(value, int | float)}
    return {
        "written": _minute(run),
        "run_file": run["run_file"],
        "way": way,
        "processes": workers.get("num_workers", ranks),
        "seed": run["seed"],
        "precision": run["precision"],
        "parameters": run["parameters"],
        "updates": run["updates"],
        "utterances": run.get("utterances_trained"),
        "test_set": test_set,
        **{f"test_{key}": value for key, value in figures.items()},
        "target_s": run.get("target_reached_s"),
        "train_s": run["clock_s"]["train"],
        "valid_s": run["clock_s"]["valid"],
        "staleness": workers.get("staleness_mean"),
        "device": run["device"],
        "machine": run["machine"]["processor"],
        "commit": (run["commit"] or "")[:10] or None,
        "command": run["command"],
    }


def row_of_folder(folder: Path) -> Row:
    """Return the columns of a run that has ended.

    Arguments
    ---------
    folder : Path
        Of the run. One that diverged has no run.json, or one without results.

    Returns
    -------
    dict
        Column -> plain value; of a run that diverged only those that its other files have.
    """
    run = _load(folder / "run.json") if (folder / "run.json").is_file() else None
    if run is not None and (run["results"] or not (folder / divergence.FILE).is_file()):
        return {"ended": "finished", **row_of(run), **hyperparameters_of(folder)}
    path = folder / "command.txt"
    return {
        "ended": "diverged",
        "written": _minute(_load(folder / divergence.FILE)),
        "command": path.read_text(encoding="utf-8").strip() if path.is_file() else None,
        **hyperparameters_of(folder),
    }


def _minute(record: Mapping[str, Any]) -> str:
    return str(record["written"])[:16].replace("T", " ")


def hyperparameters_of(folder: Path) -> Row:
    """Return the columns of a run that only its hyperparams.yaml has; None where it has none."""
    path = folder / "hyperparams.yaml"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    given = dict(re.findall(r"^(\w+): *([-+.\w]+) *$", text, re.MULTILINE))
    found: Row = {}
    for column, keys in HYPERPARAMETERS.items():
        values = [given[key] for key in keys if key in given]
        try:
            found[column] = json.loads(values[0]) if values else None
        except json.JSONDecodeError:  # a word, or a number as only YAML writes it
            found[column] = values[0]
    return found


def conditions(texts: Sequence[str]) -> list[Callable[[Row], bool]]:
    """Return tests of rows from texts such as "way=hogwild" or "test_wer<20".

    Arguments
    ---------
    texts : Sequence[str]
        Column, operator (= != < > <= >=), value.

    Returns
    -------
    list of callable
        A row without the column fails every test.

    Raises
    ------
    ValueError
        If a text is none of these.
    """
    found = []
    for text in texts:
        match = CONDITION.fullmatch(text.strip())
        if match is None:
            raise ValueError(
                f"report: condition {text!r}; expected COLUMN and a value, such as way=hogwild or "
                "'test_wer<20'."
            )
        found.append(_condition(*match.groups()))
    return found


def _condition(column: str, sign: str, value: str) -> Callable[[Row], bool]:
    def holds(row: Row) -> bool:
        own = row.get(column)
        if own is None:
            return False
        if isinstance(own, int | float):
            return OPERATORS[sign](float(own), float(value))
        return OPERATORS[sign](str(own), value)

    return holds


class Ledger:
    """All runs under a folder that meet some conditions.

    Arguments
    ---------
    folder : Path
        Searched, with all folders in it.
    where : Sequence[str]
        See :func:`conditions`.
    metric : str
        Figure of validations that the curves show.

    Attributes
    ----------
    rows : list[Row]
        Figures by run, newest first.
    columns : list[str]
        Those that any run has.
    faults : dict[str, str]
        Run -> why it could not be read.

    Raises
    ------
    ValueError
        If a condition is none, or nobody knows which side of the metric is better.
    """

    def __init__(self, folder: Path, *, where: Sequence[str] = (), metric: str = "wer") -> None:
        tests = conditions(where)
        fault = fault_of([metric])
        if fault:
            raise ValueError(f"report: metric: {fault}.")
        self.folder, self.metric = folder, metric
        self.rows: list[Row] = []
        self.faults: dict[str, str] = {}
        self._records: dict[str, Record | None] = {}
        for path in find_runs(folder):
            name = path.relative_to(folder).as_posix()
            try:
                row = {"run": name, **row_of_folder(path)}
            except (KeyError, TypeError, json.JSONDecodeError) as error:
                self.faults[name] = f"{type(error).__name__}: {error}"
                continue
            if all(holds(row) for holds in tests):
                self.rows.append(row)
        self.rows.sort(key=lambda row: row["written"], reverse=True)
        columns = dict.fromkeys(key for row in self.rows for key in row)
        self.columns = [key for key in columns if any(r.get(key) is not None for r in self.rows)]

    def csv(self, links: Mapping[str, str]) -> str:
        """Return the table as comma-separated values; links: run -> address of its curve."""
        buffer = io.StringIO()
        columns = ["run", "curve", *(column for column in self.columns if column != "run")]
        writer = csv.DictWriter(buffer, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "curve": links.get(row["run"])} for row in self.rows)
        return buffer.getvalue()

    def curve(self, name: str) -> bytes | None:
        """Return the learning curve of a run as PNG; None if it diverged or was never validated."""
        if not (self.folder / name / "run.json").is_file():
            return None
        try:
            record = read_record(self.folder / name, metric=self.metric)
        except ValueError:  # its validations have no such figure
            return None
        if not record.curve:
            return None
        return curves_png({name: {0: record}}, over="utterances", metric=self.metric, title=name)

    def table(self, links: Mapping[str, str], *, home: Path) -> Table:
        """Return the table; each run's name leads to its folder, its curve to a picture.

        Arguments
        ---------
        links : Mapping[str, str]
            Run -> address of its curve, relative to `home`.
        home : Path
            Folder of the page.

        Returns
        -------
        Table
            Newest run first.
        """
        shown = [column for column in self.columns if column != "run"]
        rows = []
        for row in self.rows:
            name = row["run"]
            place = os.path.relpath(self.folder / name, home)
            curve = Cell("curve", None, links[name]) if name in links else Cell("", None)
            rows.append([Cell(name, name, place), curve, *(_cell(row.get(key)) for key in shown)])
        about = f"{len(self.rows)} runs under {self.folder}, newest first."
        return Table("Runs", about, ["run", "curve", *shown], rows)


def _load(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _cell(value: Any) -> Cell:
    if value is None:
        return Cell("", None)
    if isinstance(value, float):
        return Cell(f"{value:.4g}" if abs(value) < 100 else f"{value:.0f}", value)
    return Cell(str(value), value if isinstance(value, int) else str(value))
