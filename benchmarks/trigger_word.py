"""A report of trigger-word trainings that have ended, from what they left.

    python -m benchmarks.trigger_word runs/trigger_word/small_0 --name small
    python -m benchmarks.trigger_word runs/trigger_word/wake_word_0 runs/trigger_word/wake_word_1 \
        --name wake_word

Nothing is trained and nothing typed in: ``benchmarks/results/<date>-trigger_word-<name>.md`` and
``.json`` hold the figures of each run.json, with its command, machine, date and commit.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
COLUMNS = {
    "bce": ("BCE", "{:.4f}"),
    "bce_prior": ("BCE of the prior", "{:.4f}"),
    "average_precision": ("AP %", "{:.2f}"),
    "frame_f1": ("F1 of steps %", "{:.2f}"),
    "event_recall": ("event recall %", "{:.2f}"),
    "event_precision": ("event precision %", "{:.2f}"),
    "event_f1": ("event F1 %", "{:.2f}"),
    "false_alarms_per_hour": ("false alarms/h", "{:.1f}"),
    "latency_ms": ("median latency ms", "{:.0f}"),
}


def report(name: str, records: Sequence[dict[str, Any]]) -> str:
    """Return the report in Markdown: how each run was made, a row a run, thresholds."""
    lines = [f"# Trigger word: {name}", ""]
    for record in records:
        place = record["machine"]
        lines += [
            f"- command: `{record['command']}`; {record['written'][:10]}; commit "
            f"{record['commit']}; {place['processor']}, {place['cores']} cores, GPUs: "
            f"{', '.join(place['gpus']) or 'none'}; {record['threads']} threads; "
            f"{record['parameters']:,} parameters, {record['updates']} updates, "
            f"{record['seconds']['train']:.0f} s of training; precision {record['precision']}"
        ]
        if tested := record.get("tested"):
            lines += [
                f"- tested later by `{tested['command']}`; {tested['written'][:10]}; commit "
                f"{tested['commit']}"
            ]
    for test in records[0]["results"]:
        lines += ["", *_table(test, records), "", *_thresholds(test, records)]
    return "\n".join(lines) + "\n"


def _table(test: str, records: Sequence[dict[str, Any]]) -> list[str]:
    first = records[0]["results"][test]
    lines = [
        f"## {test}: {first['utterances']} clips, {first['hours']:.2f} hours, "
        f"{first['triggers']} triggers",
        "",
        "| seed | " + " | ".join(heading for heading, _ in COLUMNS.values()) + " |",
        "|--:|" + "--:|" * len(COLUMNS),
    ]
    for record in records:
        result = record["results"][test]
        cells = [_cell(result[key], form) for key, (_, form) in COLUMNS.items()]
        lines.append(f"| {record['seed']} | {' | '.join(cells)} |")
    return lines


def _thresholds(test: str, records: Sequence[dict[str, Any]]) -> list[str]:
    lines = ["| threshold | event recall %, by seed | false alarms/h, by seed |", "|--:|---|---|"]
    for threshold in records[0]["results"][test]["thresholds"]:
        found = [record["results"][test]["thresholds"][threshold] for record in records]
        cells = [
            ", ".join(_cell(one[key], "{:.1f}") for one in found)
            for key in ("event_recall", "false_alarms_per_hour")
        ]
        lines.append(f"| {threshold} | {' | '.join(cells)} |")
    return lines


def _cell(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def main(argv: Sequence[str]) -> int:
    """Write the report and print it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", type=Path, nargs="+", help="output folders")
    parser.add_argument("--name", required=True, help="name of the report")
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args(argv)
    records = [json.loads((run / "run.json").read_text(encoding="utf-8")) for run in args.runs]
    args.results.mkdir(parents=True, exist_ok=True)
    path = args.results / f"{records[0]['written'][:10]}-trigger_word-{args.name}.md"
    path.write_text(report(args.name, records), encoding="utf-8")
    path.with_suffix(".json").write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
    print(path.read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
