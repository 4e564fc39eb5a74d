"""What a comparison leaves: compare.json, compare.md, compare.html and its pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from comparing.jobs import ROOT, Job
from comparing.options import Comparison
from comparing.page import page
from comparing.plots import curves_png, sizes_png
from comparing.records import Record, read_record
from comparing.tables import Table, figures_of, main_table, verdict_table
from recipes.common.experiment import git_commit, write_atomically
from recipes.common.report import machine, package_versions

Groups = dict[tuple[str, str], dict[str, dict[int, Record]]]
"""(variant, budget) -> way -> seed -> run."""


def group(what: Comparison, jobs: Sequence[Job]) -> Groups:
    """Return the runs of finished jobs, in the order of the comparison."""
    groups: Groups = {}
    for variant in what.variants:
        for budget in what.budgets_of(variant):
            own = {way: _records(what, jobs, (variant, budget, way)) for way in what.ways}
            groups[variant, budget] = {way: records for way, records in own.items() if records}
    return {key: ways for key, ways in groups.items() if ways}


def _records(what: Comparison, jobs: Sequence[Job], key: tuple[str, str, str]) -> dict[int, Record]:
    own = [job for job in jobs if (job.variant, job.budget, job.way) == key and job.is_done]
    return {
        job.seed: read_record(ROOT / job.folder, metric=what.valid_metric)
        for job in sorted(own, key=lambda job: job.seed)
    }


def check_equal(groups: Groups) -> None:
    """Refuse to compare runs of other data.

    Arguments
    ---------
    groups : Groups
        All runs.

    Raises
    ------
    ValueError
        If runs of one group saw other shards, tested on other utterances, or are of other models.
    """
    for (variant, budget), ways in groups.items():
        seen: dict[str, list[str]] = {}
        for way, own in ways.items():
            for seed, record in own.items():
                same = {key: record.run[key] for key in ("index_checksums", "parameters")}
                same["utterances"] = record.run["train_data"].get("num_utterances")
                seen.setdefault(json.dumps(same, sort_keys=True), []).append(f"{way} seed {seed}")
        if len(seen) > 1:
            told = "\n".join(f"- {', '.join(names)}: {same}" for same, names in seen.items())
            raise ValueError(
                f"comparison: runs of {variant}, {budget} had other data or models:\n{told}\n"
                "expected the same for all; give them the same options."
            )


def tables_of(what: Comparison, groups: Groups) -> list[Table]:
    """Return all tables."""
    tables = []
    for (variant, budget), records in groups.items():
        name = f"{variant}, equal {budget}" if len(groups) > 1 else f"Equal {budget}"
        tables.append(main_table(name, what, records))
        if len(records) > 1 and max(len(own) for own in records.values()) > 1:
            tables.append(verdict_table(f"{name}: differences", what, records))
    return tables


def pictures_of(what: Comparison, groups: Groups) -> dict[str, bytes]:
    """Return file name -> PNG."""
    found = {}
    for (variant, budget), records in groups.items():
        for over in ("seconds", "utterances"):
            found[f"{variant}-{budget}-{over}.png"] = curves_png(
                records, over=over, metric=what.valid_metric, title=f"{variant}, equal {budget}"
            )
    for budget in what.budgets:
        sizes = _sizes(what, groups, budget)
        if max((len(own) for own in sizes.values()), default=0) > 1:
            found[f"sizes-{budget}.png"] = sizes_png(
                sizes, metric=what.metrics[0], title=f"size of the corpus, equal {budget}"
            )
    return found


def _sizes(what: Comparison, groups: Groups, budget: str) -> Any:
    """Return way -> hours of training data -> (test figure, seconds to target) of each seed."""
    sizes: dict[str, dict[float, list[tuple[float | None, float | None]]]] = {}
    for (_, own_budget), records in groups.items():
        for way, own in records.items() if own_budget == budget else ():
            for record in own.values():
                row = record.figures(what.metrics)
                hours = round(record.run["train_data"]["audio_s"] / 3600, 3)
                pair = (row[what.metrics[0]], row["target_s"])
                sizes.setdefault(way, {}).setdefault(hours, []).append(pair)
    return sizes


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
    runs = [run for ways in groups.values() for own in ways.values() for run in own.values()]
    return {
        "command": command,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": git_commit(),
        "commits_of_runs": sorted({str(run.run["commit"]) for run in runs}),
        "machine": machine(),
        "packages": package_versions(),
        "rates": dict(rates),
        "options": dict(what.options),
        "options_by_way": {way: dict(options) for way, options in what.way_options.items()},
        "figures": [
            {"variant": variant, "budget": budget, "ways": figures_of(what, records)}
            for (variant, budget), records in groups.items()
        ],
        "tables": [_plain(table) for table in tables],
    }


def _about(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    place = record["machine"]
    rates = {way: rate or "as in the run file" for way, rate in record["rates"].items()}
    return [
        ("command", record["command"]),
        ("written", record["written"]),
        ("commits of the runs", ", ".join(record["commits_of_runs"])),
        (
            "machine",
            f"{place['processor']}, {place['cores']} cores, {place['memory_gib']} GiB, GPUs: "
            f"{', '.join(place['gpus']) or 'none'}; Python {place['python']}",
        ),
        ("learning rates", ", ".join(f"{way} {rate}" for way, rate in rates.items())),
        ("options of all", json.dumps(record["options"])),
        ("options by way", json.dumps(record["options_by_way"])),
    ]


def _plain(table: Table) -> dict[str, Any]:
    rows = [[{"text": cell.text, "value": cell.value} for cell in row] for row in table.rows]
    return {"title": table.title, "about": table.about, "header": list(table.header), "rows": rows}


def _write_bytes(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(content)
    temporary.replace(path)
