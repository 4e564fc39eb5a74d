"""What a comparison leaves: compare.json, compare.md, compare.html and its pictures."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from comparing.groups import (
    STATES,
    Group,
    Groups,
    check_equal,
    labelled,
    machine_text,
    packages_text,
    warnings_of,
)
from comparing.options import Comparison
from comparing.page import page
from comparing.plots import Sizes, curves_png, sizes_png
from comparing.records import Record
from comparing.schedules import schedule_warnings
from comparing.tables import Table, figures_of, main_table
from comparing.verdicts import verdict_table
from recipes.common.experiment import git_commit, write_atomically
from recipes.common.machine import machine, package_versions


def tables_of(what: Comparison, groups: Groups) -> list[Table]:
    """Return all tables."""
    tables = []
    for (variant, budget), group in groups.items():
        name = f"{variant}, equal {budget}" if len(groups) > 1 else f"Equal {budget}"
        tables.append(main_table(name, what, group))
        if len(group.records) > 1 and max(len(own) for own in group.records.values()) > 1:
            tables.append(verdict_table(f"{name}: differences", what, group))
    return tables


def pictures_of(what: Comparison, groups: Groups) -> dict[str, bytes]:
    """Return file name -> PNG."""
    found = {}
    for (variant, budget), group in groups.items():
        records = {labelled([group], way): own for way, own in group.records.items()}
        for over in ("seconds", "utterances") if group.runs else ():
            found[f"{variant}-{budget}-{over}.png"] = curves_png(
                records, over=over, metric=what.valid_metric, title=f"{variant}, equal {budget}"
            )
    for budget in what.budgets:
        own = [group for (_, name), group in groups.items() if name == budget]
        sizes = {labelled(own, way): _sizes(what, own, way) for way in what.ways}
        if max(map(len, sizes.values())) > 1:
            found[f"sizes-{budget}.png"] = sizes_png(
                sizes, metric=what.metrics[0], title=f"size of the corpus, equal {budget}"
            )
    return found


def _sizes(what: Comparison, groups: Sequence[Group], way: str) -> Sizes:
    """Return hours of training data -> (test figure, seconds to target) of each seed of a way.

    A seed that diverged or is missing stands as None, beside those of its size that have ended.
    """
    sizes: dict[float, list[tuple[float | None, float | None] | None]] = {}
    for group in groups:
        if group.runs:
            found = sizes.setdefault(_hours(group.runs[0]), [])
            own = group.records[way].values()
            rows = [record.figures(what.metrics, target=what.target) for record in own]
            found += [(row[what.metrics[0]], row["target_s"]) for row in rows]
            found += [None] * len(group.absent[way])
    return sizes


def _hours(record: Record) -> float:
    """Return the hours of training data."""
    return round(float(record.run["train_data"]["audio_s"]) / 3600, 3)


def write_report(
    what: Comparison,
    groups: Groups,
    *,
    folder: Path,
    command: str,
    rates: Mapping[str, float | None],
    tuning: Sequence[Mapping[str, Any]] = (),
) -> Path:
    """Write everything; return the path of compare.md.

    Arguments
    ---------
    what : Comparison
        What was compared.
    groups : Groups
        Its runs.
    folder : Path
        Where the files go.
    command : str
        How the comparison was started.
    rates : Mapping[str, float | None]
        Way -> learning rate.
    tuning : Sequence[Mapping[str, Any]]
        The figures that chose the rates.

    Returns
    -------
    Path
        Of the report in Markdown.
    """
    check_equal(groups)
    tables, pictures = tables_of(what, groups), pictures_of(what, groups)
    record = _record(what, groups, tables, command=command, rates=rates)
    record["tuning"] = [dict(row) for row in tuning]
    about = _about(record)
    title = "Comparison of ways to train"
    lines = [f"# {title}", "", *(f"- {name}: {value}" for name, value in about), ""]
    lines += [line for table in tables for line in table.markdown()]
    lines += [f"![{name}]({name})" for name in pictures]
    text = page(title, about=about, tables=tables, pictures=pictures, data=record)
    folder.mkdir(parents=True, exist_ok=True)
    for name, png in pictures.items():
        _write_bytes(folder / name, png)
    write_atomically(folder / "compare.json", json.dumps(record, indent=1) + "\n")
    write_atomically(folder / "compare.html", text)
    path = folder / "compare.md"
    write_atomically(path, "\n".join(lines).rstrip() + "\n")
    return path


def _record(
    what: Comparison,
    groups: Groups,
    tables: Sequence[Table],
    *,
    command: str,
    rates: Mapping[str, float | None],
) -> dict[str, Any]:
    runs = [run for group in groups.values() for run in group.runs]
    return {
        "command": command,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "written_on": {
            "commit": git_commit(),
            "machine": machine(),
            "packages": package_versions(),
        },
        "commits_of_runs": sorted({str(run.run["commit"]) for run in runs}),
        "machines_of_runs": _different(run.run["machine"] for run in runs),
        "packages_of_runs": _different(run.run["packages"] for run in runs),
        "warnings": [*warnings_of(groups), *schedule_warnings(what, groups)],
        "targets": _targets(what, runs),
        "rates": dict(rates),
        "updates_of_schedules": {way: what.updates_of(way) for way in what.ways},
        "options": dict(what.options),
        "options_by_way": {way: dict(options) for way, options in what.way_options.items()},
        "figures": [
            {"variant": variant, "budget": budget, **_figures(what, group)}
            for (variant, budget), group in groups.items()
        ],
        "tables": [_plain(table) for table in tables],
    }


def _targets(what: Comparison, runs: Sequence[Record]) -> list[dict[str, Any]]:
    """Return figure -> target: that of the comparison, or else those of the runs that differ."""
    if what.target is not None:
        return [{what.valid_metric: what.target}]
    return _different(run.run["target"] for run in runs)


def _different(values: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return those that differ, in their order."""
    return [json.loads(text) for text in dict.fromkeys(map(json.dumps, values))]


def _figures(what: Comparison, group: Group) -> dict[str, Any]:
    return {
        "hours": _hours(group.runs[0]) if group.runs else None,
        "equal_s": group.equal_s if group.runs else None,
        "ways": figures_of(what, group),
        "curves": {
            way: {seed: _curve(record) for seed, record in own.items()}
            for way, own in group.records.items()
        },
        **{state: group.absent_in(state) for state in STATES},
    }


def _curve(record: Record) -> dict[str, list[float]]:
    names = ("updates", "utterances", "began_s", "seconds", "value")
    return {name: [getattr(point, name) for point in record.curve] for name in names}


def _about(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    machines = [machine_text(place) for place in record["machines_of_runs"]]
    packages = [packages_text(own) for own in record["packages_of_runs"]]
    here = record["written_on"]
    updates = [f"{way} {own:g}" for way, own in record["updates_of_schedules"].items()]
    rates = {way: rate or "as in the run file" for way, rate in record["rates"].items()}
    return [
        *(("warning", told) for told in record["warnings"]),
        ("command", record["command"]),
        ("commits of the runs", ", ".join(record["commits_of_runs"])),
        ("machines of the runs", "; ".join(machines)),
        ("packages of the runs", "; ".join(packages)),
        ("report written", record["written"]),
        ("report written on", f"{machine_text(here['machine'])}; commit {here['commit']}"),
        ("target in validation", "; ".join(map(_target_text, record["targets"])) or "none"),
        ("learning rates", ", ".join(f"{way} {rate}" for way, rate in rates.items())),
        ("updates per utterance that schedules count on", ", ".join(updates)),
        ("options of all", json.dumps(record["options"])),
        ("options by way", json.dumps(record["options_by_way"])),
    ]


def _target_text(target: Mapping[str, float | None]) -> str:
    values = {name: "none" if value is None else f"{value:g}" for name, value in target.items()}
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _plain(table: Table) -> dict[str, Any]:
    rows = [[{"text": cell.text, "value": cell.value} for cell in row] for row in table.rows]
    return {"title": table.title, "about": table.about, "header": list(table.header), "rows": rows}


def _write_bytes(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(content)
    temporary.replace(path)
