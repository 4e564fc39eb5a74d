"""How good is a run, and how much do its seeds differ? Trains once per seed, in turn.

    python benchmarks/seeds.py hparams/train.yaml --seeds 0 1 2 --name main_job
    python benchmarks/seeds.py hparams/train_an4.yaml --seeds 0 1 2 --name an4 -- \
        --manifest ../shared/data/manifest.jsonl

What follows ``--`` goes to train.py. With ``--go_on`` runs that were cut go on from their
checkpoints, with the same result. Every figure of the report is read from the run.json files;
with the command, machine, date and commit it becomes ``benchmarks/results/<date>-<name>.md``, and
the records themselves ``<date>-<name>.json`` beside it.
"""

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
TEXT = {"wer": "WER", "wer_p": "WER-P", "cer_p": "CER-P"}
LANGUAGE_MODEL = {"loss": "loss", "perplexity": "perplexity"}
"""Figures of a test set, of what recognises text and of what scores it, with their titles."""
TEXT_LEGEND = "WER: upper case, no punctuation; WER-P, CER-P: as written; percent. "


def train(run_file: str, seed: int, *, folder: Path, options: Sequence[str]) -> dict[str, Any]:
    """Run train.py once and return its record, with the wall clock from its start to its end."""
    command = [sys.executable, "train.py", run_file, "--seed", str(seed)]
    command += ["--output_folder", str(folder), *options]
    print("$", shlex.join(command[1:]), flush=True)
    start = time.monotonic()
    subprocess.run(command, cwd=ROOT, check=True)
    record: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return record | {"wall_s": round(time.monotonic() - start, 1)}


def report(name: str, command: str, records: Sequence[dict[str, Any]], *, note: str = "") -> str:
    """Return the report in Markdown: how it was made, a row per seed, medians."""
    first = records[0]
    machine = first["machine"]
    titles = _titles(next(iter(first["results"].values())))
    lines = [
        f"# {name}",
        "",
        f"- command: `{command}`",
        f"- date: {first['written'][:10]}; commit: {first['commit']}",
        f"- machine: {machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB, GPUs: {', '.join(machine['gpus']) or 'none'}; "
        f"Python {machine['python']}, torch {first['packages']['torch']}, "
        f"{first['threads']} threads",
        f"- parameters: {first['parameters']:,}; precision {first['precision']}",
        "",
        (TEXT_LEGEND if titles is TEXT else "")
        + "Seconds are wall clock; `wall` counts from the start of train.py to its end."
        + note,
        "",
    ]
    for test in first["results"]:
        unit = "utterances" if titles is TEXT else "examples"
        lines += [f"## {test}: {first['results'][test][unit]} {unit}", ""]
        parts = ["seed", *titles.values(), "updates", "prepare s", "train s", "test s", "wall s"]
        lines += [f"| {' | '.join(parts)} |", "|--:" * len(parts) + "|"]
        rows = [_row(record, test, titles) for record in records]
        lines += [_line(str(r["seed"]), row) for r, row in zip(records, rows, strict=True)]
        lines += [_line("median", list(map(statistics.median, zip(*rows, strict=True))))]
        lines += [""]
        if titles is TEXT:
            lines += ["By category, median WER: " + _categories(records, test), ""]
    return "\n".join(lines)


def _titles(results: Mapping[str, Any]) -> dict[str, str]:
    return TEXT if "wer" in results else LANGUAGE_MODEL


def _row(record: dict[str, Any], test: str, titles: Mapping[str, str]) -> list[float]:
    seconds = record["seconds"]
    figures = [record["results"][test][name] for name in titles]
    parts = [seconds["prepare"], seconds["train"], seconds["test"], record["wall_s"]]
    return [*figures, record["updates"], *parts]


def _line(label: str, row: Sequence[float]) -> str:
    cells = [f"{value:.2f}" for value in row[:-5]] + [f"{value:.0f}" for value in row[-5:]]
    return f"| {label} | " + " | ".join(cells) + " |"


def _categories(records: Sequence[dict[str, Any]], test: str) -> str:
    parts = [record["results"][test]["by_category"] for record in records]
    medians = {c: statistics.median(p[c]["wer"] for p in parts) for c in parts[0]}
    return ", ".join(f"{name} {value:.2f}" for name, value in medians.items()) or "none"


def main(argv: Sequence[str]) -> int:
    """Train with every seed, then write the report."""
    own, rest = (list(argv), [])
    if "--" in own:
        own, rest = own[: own.index("--")], own[own.index("--") + 1 :]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run_file", help="YAML for train.py")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--name", required=True, help="name of the report")
    parser.add_argument("--go_on", action="store_true", help="finish runs that are there")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "benchmarks")
    args = parser.parse_args(own)
    date = datetime.now(UTC).date().isoformat()
    records = []
    for seed in args.seeds:
        folder = args.runs / f"{date}-{args.name}-{seed}"
        if folder.exists() and not args.go_on:
            parser.error(f"{folder} exists; a benchmark starts from nothing: move it away")
        records.append(train(args.run_file, seed, folder=folder, options=rest))
    RESULTS.mkdir(parents=True, exist_ok=True)
    command = shlex.join(["python", "benchmarks/seeds.py", *argv])
    path = RESULTS / f"{date}-{args.name}.md"
    note = " Seconds are those of the last start: a run may have been cut before." * args.go_on
    path.write_text(report(args.name, command, records, note=note), encoding="utf-8")
    path.with_suffix(".json").write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
    print(path.read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
