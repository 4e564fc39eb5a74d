"""How well does the small Conformer translate, with CTC compression and without? Three seeds each.

    python -m benchmarks.translation
    python -m benchmarks.translation --seeds 1 --arms avg --name try -- --num_epochs 4

What follows ``--`` goes to train.py. Every figure of the report is read from the run.json files;
with the command, machine, date and commit it becomes ``benchmarks/results/<date>-<name>.md``, and
the records themselves ``<date>-<name>.json`` beside it.
"""

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
RUN_FILE = "recipes/MuSTC/ST/conformer/hparams/small.yaml"
ARMS = ("avg", "identity")
HEAD = (
    "| compression | seed | BLEU | chrF2 | exact % | R / L | updates | train s | test s | wall s |"
)


def train(arm: str, seed: int, *, folder: Path, options: Sequence[str]) -> dict[str, Any]:
    """Run train.py once and return its record, with the wall clock from its start to its end.

    A run that has ended is not made again, so that a benchmark which was stopped goes on.
    """
    ended = folder / "benchmark.json"
    if ended.is_file():
        found: dict[str, Any] = json.loads(ended.read_text(encoding="utf-8"))
        return found
    if folder.exists():
        raise SystemExit(f"{folder} exists and has not ended; a run starts from nothing: move it")
    command = [sys.executable, "train.py", RUN_FILE, "--seed", str(seed)]
    command += ["--model.compress", arm, "--output_folder", str(folder), *options]
    print("$", shlex.join(command[1:]), flush=True)
    start = time.monotonic()
    subprocess.run(command, cwd=ROOT, check=True)
    record: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    record |= {"arm": arm, "wall_s": round(time.monotonic() - start, 1)}
    record["load_average"] = os.getloadavg()[2]
    ended.write_text(json.dumps(record), encoding="utf-8")
    return record


def report(name: str, command: str, records: Sequence[dict[str, Any]]) -> str:
    """Return the report in Markdown: how it was made, a row per run, medians per arm."""
    first = records[0]
    info, test = first["machine"], next(iter(first["results"]))
    lines = [
        f"# {name}",
        "",
        f"- command: `{command}`",
        f"- date: {first['written'][:10]}; commit: {first['commit']}",
        f"- machine: {info['processor']}, {info['cores']} cores, {info['memory_gib']} GiB, GPUs: "
        f"{', '.join(info['gpus']) or 'none'}; Python {info['python']}, torch "
        f"{first['packages']['torch']}, {first['threads']} threads; load average "
        f"{min(r['load_average'] for r in records):.1f} to "
        f"{max(r['load_average'] for r in records):.1f}",
        f"- parameters: {first['parameters']:,}; precision {first['precision']}",
        f"- {test}: {first['results'][test]['utterances']} utterances, none of whose sentences and "
        "speakers were trained on",
        *(f"- {key}: `{text}`" for key, text in first["results"][test]["signatures"].items()),
        "",
        "R / L: encoder steps after compression over those before. Exact: hypotheses that equal "
        "their reference. `wall` counts from the start of train.py to its end.",
        "",
        HEAD,
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for arm in dict.fromkeys(record["arm"] for record in records):
        chosen = [record for record in records if record["arm"] == arm]
        rows = [_row(record, test) for record in chosen]
        lines += [_line(arm, str(r["seed"]), row) for r, row in zip(chosen, rows, strict=True)]
        lines.append(_line(arm, "median", list(map(statistics.median, zip(*rows, strict=True)))))
    return "\n".join(lines) + "\n"


def _row(record: dict[str, Any], test: str) -> list[float]:
    result, seconds = record["results"][test], record["seconds"]
    scores = [result[name] for name in ("bleu", "chrf", "exact", "compression")]
    return [*scores, record["updates"], seconds["train"], seconds["test"], record["wall_s"]]


def _line(arm: str, label: str, row: Sequence[float]) -> str:
    cells = [f"{value:.2f}" for value in row[:4]] + [f"{value:.0f}" for value in row[4:]]
    return f"| {arm} | {label} | " + " | ".join(cells) + " |"


def main(argv: Sequence[str]) -> int:
    """Train every arm with every seed, then write the report."""
    own, rest = list(argv), []
    if "--" in own:
        own, rest = own[: own.index("--")], own[own.index("--") + 1 :]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS)
    parser.add_argument("--name", default="translation", help="name of the report")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "benchmarks")
    args = parser.parse_args(own)
    date = datetime.now(UTC).date().isoformat()
    records = []
    for seed in args.seeds:
        for arm in args.arms:
            folder = args.runs / f"{date}-{args.name}-{arm}-{seed}"
            records.append(train(arm, seed, folder=folder, options=rest))
    RESULTS.mkdir(parents=True, exist_ok=True)
    command = shlex.join(["python", "-m", "benchmarks.translation", *argv])
    path = RESULTS / f"{date}-{args.name}.md"
    path.write_text(report(args.name, command, records), encoding="utf-8")
    path.with_suffix(".json").write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
    print(path.read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
