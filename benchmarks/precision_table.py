"""All reports of comparisons of precisions of one day and device in a table, from their JSON files.

    python -m benchmarks.precision_table 2026-11-29-precision-cpu

`benchmarks.precision_gpu` does it when its cases are through. Nothing is measured here; every row
links the report that it was read from. Leaves ``benchmarks/results/<prefix>.md``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measuring import RESULTS, table

HEADER = (
    *("report", "arm / baseline", "units; updates timed, in all", "baseline, processor ms"),
    *("ratio, processor", "verdict", "ratio, wall", "verdict", "kept for backward, ratio"),
    *("validation loss, difference", "verdict"),
)


def rows_of(path: Path) -> Iterator[list[str]]:
    """Yield a row for every arm of a report but the first."""
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    how = record["protocol"]
    for one in record["comparisons"]:
        own = [unit["arms"][one["baseline"]] for unit in record["units"]]
        yield [
            f"[{path.stem.partition('-precision-')[2]}]({path.stem}.md)",
            f"{one['arm']} / {one['baseline']}",
            f"{how['units']}; {how['timed_steps']}, {own[0]['updates']}",
            f"{statistics.median(statistics.median(arm['cpu_ms']) for arm in own):.1f}",
            *_cells(one["cpu_ms"], "mean", "{:.3f}"),
            *_cells(one["wall_ms"], "mean", "{:.3f}"),
            "-" if one["saved_mib"] is None else f"{one['saved_mib']:.2f}",
            *_cells(one["valid"]["loss"], "difference", "{:+.4f}"),
        ]


def _cells(figure: dict[str, Any], key: str, form: str) -> list[str]:
    """Return a figure with its interval, and the verdict on it."""
    if key not in figure:
        return ["-", figure["verdict"]]
    middle, low, high = (form.format(figure[part]) for part in (key, "low", "high"))
    return [f"{middle} ({low} to {high})", figure["verdict"]]


def write_table(prefix: str, results: Path) -> Path:
    """Write the table of all reports whose names begin alike; return its path.

    Arguments
    ---------
    prefix : str
        "<date>-precision-<device>".
    results : Path
        Folder of the reports.

    Returns
    -------
    Path
        <results>/<prefix>.md.

    Raises
    ------
    FileNotFoundError
        If there are no such reports.
    """
    found = sorted(results.glob(f"{prefix}-*.json"))
    if not found:
        raise FileNotFoundError(f"precision_table: no {prefix}-*.json in {results}; run a case.")
    commits = {json.loads(path.read_text(encoding="utf-8"))["commit"] for path in found}
    lines = [
        f"# Precisions: {prefix}",
        "",
        f"From {len(found)} reports in this folder (commits {', '.join(sorted(commits))}); their "
        "commands, machines and loads stand there. A ratio is the geometric mean over units with "
        "its 95 % interval; `-aa` compares fp32 with itself and has to find nothing.",
        "",
        *table(HEADER, (row for path in found for row in rows_of(path))),
    ]
    path = results / f"{prefix}.md"
    path.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    return path


def main(argv: Sequence[str]) -> int:
    """Write the table and print it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("prefix", help="of the reports: <date>-precision-<device>")
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args(argv)
    print(write_table(args.prefix, args.results).read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
