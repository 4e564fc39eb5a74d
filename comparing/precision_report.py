"""What a comparison of precisions leaves: precision.json, precision.md, precision.png."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from comparing.precision_plot import picture
from comparing.statistics import NO_DIFFERENCE, Ratio, geometric_ratio, verdict
from recipes.common.experiment import git_commit, write_atomically
from recipes.common.machine import machine, package_versions

TOO_FEW = "too few units for a verdict"
Found = Mapping[str, Any]


def comparisons_of(found: Found) -> list[dict[str, Any]]:
    """Return every arm beside the first one: speed, processor time, memory, quality, verdicts.

    Arguments
    ---------
    found : Found
        What `comparing.precision.compare` returned.

    Returns
    -------
    list of dict
        Plain JSON values, one for each arm but the first.
    """
    baseline, *others = [arm["name"] for arm in found["arms"]]
    return [_comparison(found, name, baseline) for name in others]


def _comparison(found: Found, name: str, baseline: str) -> dict[str, Any]:
    resolution = found["protocol"]["resolution"]
    result: dict[str, Any] = {"arm": name, "baseline": baseline}
    for key in ("wall_ms", "cpu_ms"):
        this, that = (medians(found, arm, key) for arm in (name, baseline))
        result[key] = _ratio(geometric_ratio(this, that), resolution=resolution)
    result["saved_mib"] = _share(found, name, baseline, "saved_mib")
    result["peak_mib"] = _share(found, name, baseline, "peak_mib")
    first = found["units"][0]["arms"][baseline]["valid"]
    result["valid"] = {key: _quality(found, name, baseline, key) for key in first}
    return result


def medians(found: Found, arm: str, key: str) -> list[float]:
    """Return an arm's median of a list of figures, one for each unit."""
    return [statistics.median(unit["arms"][arm][key]) for unit in found["units"]]


def _ratio(ratio: Ratio | None, *, resolution: float) -> dict[str, Any]:
    if ratio is None:
        return {"verdict": TOO_FEW}
    return {
        "mean": ratio.mean,
        "low": ratio.low,
        "high": ratio.high,
        "units": len(ratio.per_unit),
        "per_unit": list(ratio.per_unit),
        "verdict": ratio.verdict(resolution=resolution),
    }


def _share(found: Found, name: str, baseline: str, key: str) -> float | None:
    """Return an arm's memory over the baseline's; None where it was not measured."""
    this, that = (found["units"][0]["arms"][arm][key] for arm in (name, baseline))
    return this / that if this and that else None


def _quality(found: Found, name: str, baseline: str, key: str) -> dict[str, Any]:
    """Return the paired difference of a validation figure (arm minus baseline)."""
    this, that = (
        {unit["seed"]: unit["arms"][arm]["valid"].get(key) for unit in found["units"]}
        for arm in (name, baseline)
    )
    result = verdict(this, that)
    values = {"this": list(this.values()), "that": list(that.values())}
    if result is None:
        return {**values, "verdict": TOO_FEW}
    word = "higher" if result.difference > 0 else "lower"
    return {
        **values,
        "difference": result.difference,
        "low": result.low,
        "high": result.high,
        "units": result.num_seeds,
        "verdict": word if result.is_shown else NO_DIFFERENCE,
        **_margin(found, key, result.low, result.high),
    }


def _margin(found: Found, key: str, low: float, high: float) -> dict[str, Any]:
    """Return whether the metric that counts is not worse by more than the margin agreed before."""
    margin = found["protocol"]["margin"]
    if margin is None or key != found["valid_metric"]:
        return {}
    worst = high if found["valid_mode"] == "min" else -low
    return {"margin": margin, "is_not_worse": worst < margin}


def write_report(found: Found, *, folder: Path, command: str, name: str = "precision") -> Path:
    """Write everything; return the path of the report in Markdown.

    Arguments
    ---------
    found : Found
        What `comparing.precision.compare` returned.
    folder : Path
        Where the files go.
    command : str
        How the comparison was started.
    name : str
        Of the files.

    Returns
    -------
    Path
        <folder>/<name>.md; beside it .json and .png.
    """
    comparisons = comparisons_of(found)
    record = {
        "command": command,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": git_commit(),
        "machine": machine(),
        "packages": package_versions(),
        "comparisons": comparisons,
        **found,
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / f"{name}.json", json.dumps(record, indent=1) + "\n")
    temporary = folder / f".{name}.png.tmp"
    temporary.write_bytes(picture(found, comparisons))
    temporary.replace(folder / f"{name}.png")
    path = folder / f"{name}.md"
    write_atomically(path, "\n".join(markdown(record, picture_name=f"{name}.png")) + "\n")
    return path


def markdown(record: Found, *, picture_name: str) -> list[str]:
    """Return the lines of the report."""
    place, how = record["machine"], record["protocol"]
    return [
        "# Comparison of precisions",
        "",
        f"- command: `{record['command']}`",
        f"- date: {record['written'][:10]}; commit: {record['commit']}",
        f"- machine: {place['processor']}, {place['cores']} cores, {place['memory_gib']} GiB, "
        f"GPUs: {', '.join(place['gpus']) or 'none'}; Python {place['python']}, "
        f"torch {record['packages']['torch']}",
        f"- device {record['device']}, {record['threads']} threads, load average "
        f"{_loads(record)}; {record['parameters']:,} parameters",
        f"- {how['units']} units (seeds from {how['first_seed']}), {how['timed_steps']} timed "
        f"updates of each arm after {how['warmup_steps']} of warm-up, turns as A B B A; quality "
        f"after {record['units'][0]['arms'][record['arms'][0]['name']]['updates']} applied updates",
        "",
        *_arms_table(record),
        "",
        *_speed_table(record),
        "",
        *_quality_table(record),
        "",
        *_target_table(record),
        "A ratio is the geometric mean over units with its 95 % interval; a verdict is given only "
        "where the interval leaves out 1 and the mean differs by more than "
        f"{how['resolution']:.1%}. Differences are arm minus baseline, paired by seed, with their "
        "95 % interval. Where other programs share the cores, processor time is the fairer clock.",
        "",
        f"![ratios and differences]({picture_name})",
    ]


def _loads(record: Found) -> str:
    loads = [load for unit in record["units"] for load in unit["load_average"]]
    return f"{min(loads):.1f} to {max(loads):.1f}"


def _arms_table(record: Found) -> list[str]:
    lines = [
        "| arm | update ms | processor ms | kept for backward MiB | peak MiB | skipped | scale |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for arm in record["arms"]:
        name = arm["name"]
        own = [unit["arms"][name] for unit in record["units"]]
        cells = [
            f"{statistics.median(medians(record, name, 'wall_ms')):.2f}",
            f"{statistics.median(medians(record, name, 'cpu_ms')):.2f}",
            _number(own[0]["saved_mib"]),
            _number(own[0]["peak_mib"]),
            str(sum(figures["skipped"] for figures in own)),
            _number(own[-1]["final_scale"]),
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _speed_table(record: Found) -> list[str]:
    lines = ["| time of an update | clock | ratio | verdict |", "|---|---|--:|---|"]
    for one in record["comparisons"]:
        for key, clock in (("wall_ms", "wall"), ("cpu_ms", "processor")):
            cell = _interval(one[key], "mean", "{:.3f}")
            label = f"{one['arm']} / {one['baseline']}"
            lines.append(f"| {label} | {clock} | {cell} | {one[key]['verdict']} |")
    return lines


def _quality_table(record: Found) -> list[str]:
    lines = ["| validation | baseline, mean | difference | verdict |", "|---|--:|--:|---|"]
    for one in record["comparisons"]:
        for key, figure in one["valid"].items():
            known = [value for value in figure["that"] if value is not None]
            middle = f"{statistics.fmean(known):.4f}" if known else "-"
            told = figure["verdict"]
            if "is_not_worse" in figure:
                told += f"; {'' if figure['is_not_worse'] else 'not shown '}not worse by "
                told += f"{figure['margin']:g}"
            cell = _interval(figure, "difference", "{:+.4f}")
            lines.append(
                f"| {key}: {one['arm']} - {one['baseline']} | {middle} | {cell} | {told} |"
            )
    return lines


def _target_table(record: Found) -> list[str]:
    """Return how many updates each arm took to the target; nothing where there is none."""
    how = record["protocol"]
    if how["target"] is None:
        return []
    sign = "<=" if record["valid_mode"] == "min" else ">="
    lines = [
        f"| {record['valid_metric']} {sign} {how['target']:g} | units that reached it | updates, "
        "median of those | processor s for them |",
        "|---|--:|--:|--:|",
    ]
    for arm in record["arms"]:
        name = arm["name"]
        ends = [unit["arms"][name]["updates_to_target"] for unit in record["units"]]
        pairs = zip(ends, medians(record, name, "cpu_ms"), strict=True)
        found = [(updates, updates * ms / 1000.0) for updates, ms in pairs if updates is not None]
        cells = [_number(statistics.median(column)) for column in zip(*found, strict=True)]
        lines.append(
            f"| {name} | {len(found)} of {len(ends)} | {' | '.join(cells or ['-', '-'])} |"
        )
    return [
        *lines,
        "",
        f"Validated every {how['target_every']} updates; seconds are updates times the unit's "
        "median; arms that did not get there in the updates of this run may do so later.",
        "",
    ]


def _interval(figure: Found, key: str, form: str) -> str:
    if key not in figure:
        return "-"
    middle, low, high = (form.format(figure[name]) for name in (key, "low", "high"))
    return f"{middle} ({low} to {high})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
