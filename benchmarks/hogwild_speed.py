"""How fast is asynchronous training? Against DDP, averaging, independent processes, one process.

    python -m benchmarks.hogwild_speed --quick
    python -m benchmarks.hogwild_speed --name speed

The same Brain, data and batches per process in every way; seconds of an epoch after one to warm up,
so starting is not counted. Writes ``benchmarks/results/<date>-hogwild_<name>.md`` and ``.json``.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks import hogwild_methods as methods
from benchmarks.hogwild_push import push_costs
from benchmarks.hogwild_task import Task
from recipes.common.experiment import git_commit
from recipes.common.machine import machine

DDP, CEILING = "DDP (gloo)", "independent processes (ceiling)"
RESULTS = Path(__file__).resolve().parent / "results"
Found = dict[str, Any]


def ways(processes: int) -> dict[str, Callable[[Task], Found]]:
    """Return the ways to train by name."""
    num = processes

    def group(every: int) -> Callable[[Task], Found]:
        return lambda task: methods.in_processes(methods.in_group, num, task, every)

    return {
        "1 process, 1 thread": methods.alone,
        f"1 process, {num} threads": lambda task: methods.alone(task, threads=num),
        CEILING: lambda task: unbound(methods.in_processes(methods.independent, num, task)),
        DDP: group(0),
        f"local SGD, averages every {methods.AVERAGE_EVERY}": group(methods.AVERAGE_EVERY),
        "PyTorch's example": lambda task: methods.stock_hogwild(task, num),
        "Hogwild": lambda task: methods.hogwild(task, num_workers=num),
        "Hogwild, not looking ahead": lambda task: methods.hogwild(
            task, num_workers=num, lookahead=0.0
        ),
        "Hogwild, flock": lambda task: methods.hogwild(task, num_workers=num, lock="flock"),
        "Hogwild, all moments shared": lambda task: methods.hogwild(
            task, num_workers=num, share_state="all"
        ),
    }


def unbound(found: Found) -> Found:
    """Return the seconds that processes would need which share the work as they are able to."""
    return {"seconds": found["seconds_unbound"]}


def one_epoch(way: Callable[[Task], Found], task: Task) -> Found:
    """Train in one way; return its figures, with the memory of its processes in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        found = way(replace(task, folder=folder))
        notes = [json.loads(path.read_text()) for path in Path(folder).iterdir()]
    for kind in ("Pss", "Private_Dirty"):
        found[kind] = statistics.median(note[kind] for note in notes) if notes else None
    return {"batches_per_s": task.batches / found["seconds"], **found}


def measure(
    some: dict[str, Callable[[Task], Found]], task: Task, *, repeats: int, title: str
) -> Found:
    """Train in all ways in turn, again and again; return medians, ratios within each turn too."""
    names = list(some)
    turns: list[Found] = []
    for repeat in range(repeats):
        start = repeat * len(names) // repeats  # another one begins each turn
        turn = {}
        for name in names[start:] + names[:start]:
            turn[name] = one_epoch(some[name], task)
            rate = turn[name]["batches_per_s"]
            print(f"{time.strftime('%T')} {title}: {name}: {rate:.1f}", flush=True)
        turns.append(turn)
    return {name: _summary(name, turns, examples=len(task.fetch(0).id)) for name in names}


def _summary(name: str, turns: Sequence[Found], *, examples: int) -> Found:
    own = [turn[name] for turn in turns]
    rates = [one["batches_per_s"] for one in own]
    row: Found = {
        "batches_per_s": statistics.median(rates),
        "utterances_per_s": statistics.median(rates) * examples,
        "all_batches_per_s": [round(rate, 2) for rate in rates],
    }
    for base in (DDP, CEILING):
        if base in turns[0]:
            ratios = [turn[name]["batches_per_s"] / turn[base]["batches_per_s"] for turn in turns]
            row[f"to {base}"] = statistics.median(ratios)
    for key in ("Pss", "Private_Dirty", "staleness_mean", "lost_updates_share"):
        row[key] = own[-1].get(key)
    return row


def lost_to_kills(task: Task, num: int, *, every_s: float, repeats: int) -> Found:
    """Return how much longer an epoch takes if a worker is killed now and then."""
    plain, killed = [], []
    for _ in range(repeats):
        plain.append(methods.hogwild(task, num_workers=num))
        killed.append(methods.hogwild(task, num_workers=num, kill_every_s=every_s))
    lost_s = [k["seconds"] - p["seconds"] for p, k in zip(plain, killed, strict=True)]
    deaths = [one["deaths"] for one in killed]
    return {
        "every_s": every_s,
        "plain_s": [one["seconds"] for one in plain],
        "killed_s": [one["seconds"] for one in killed],
        "deaths": deaths,
        "lost_s_per_death": sum(lost_s) / max(sum(deaths), 1),
    }


def report(record: Found) -> str:
    """Return the report in Markdown."""
    lines = [f"# {record['name']}", "", f"- command: `{record['command']}`"]
    lines += [f"- date: {record['date']}; commit: {record['commit']}"]
    lines += [f"- machine: {record['machine']['processor']}, {record['machine']['cores']} cores"]
    lines += [f"- {record['processes']} processes, {record['repeats']} repeats, the ways in turn"]
    lines += ["- batches/s: gradients of one batch each, of all processes; under DDP an update has"]
    lines += ["  as many as there are processes. Ratios: medians of those within a turn."]
    lines += ["  PSS (shared pages by parts) and private pages: MiB of a process that computes."]
    lines += ["  Staleness and lost updates: of the last turn.", ""]
    for title, table in record["tables"].items():
        lines += [f"## {title}", ""]
        lines += [
            "| way | batches/s | updates/s | utterances/s | to DDP | to ceiling | PSS | private | "
        ]
        lines[-1] += "staleness | lost updates |"
        lines += ["|---" + "|--:" * 9 + "|"]
        for name, row in table.items():
            cells = [
                _shown(row["batches_per_s"], "{:.1f}"),
                _shown(
                    row["batches_per_s"] / (record["processes"] if name == DDP else 1), "{:.1f}"
                ),
                _shown(row["utterances_per_s"], "{:.0f}"),
            ]
            cells += [_shown(row.get(f"to {base}")) for base in (DDP, CEILING)]
            cells += [_shown(row[key], "{:.0f}") for key in ("Pss", "Private_Dirty")]
            cells += [_shown(row["staleness_mean"]), _shown(row["lost_updates_share"], "{:.1e}")]
            lines += [f"| {name} | " + " | ".join(cells) + " |"]
        lines += [""]
    lines += ["## Cost of an update, ms", "", "| parameters | way | ms |", "|--:|---|--:|"]
    lines += [f"| {c['parameters']:,} | {c['way']} | {c['ms']:.2f} |" for c in record["push"]]
    kills = record["kills"]
    if not kills["plain_s"]:
        return "\n".join([*lines, ""])
    lines += ["", "## A worker killed now and then", ""]
    lines += [
        f"One of the workers is killed every {kills['every_s']:g} s, in turn; the model is ctc."
    ]
    lines += ["", "| seconds of an epoch | with kills | deaths |", "|--:|--:|--:|"]
    for row in zip(kills["plain_s"], kills["killed_s"], kills["deaths"], strict=True):
        lines += ["| {:.1f} | {:.1f} | {} |".format(*row)]
    lines += ["", f"Lost per death: {kills['lost_s_per_death']:.2f} s.", ""]
    return "\n".join(lines)


def _shown(value: Any, form: str = "{:.2f}") -> str:
    return "-" if value is None else form.format(value)


def main(argv: Sequence[str]) -> int:
    """Measure everything and write the report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--name", default="speed")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--examples", type=int, nargs="+", default=[8, 4], help="in a batch of the ctc model"
    )
    parser.add_argument(
        "--kills", type=int, default=2, help="repeats with workers killed; 0: not measured"
    )
    parser.add_argument("--quick", action="store_true", help="a few batches: does it run?")
    parser.add_argument("--only", default="", help="ways whose name contains this")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    sizes = {"ctc": 30, "mlp": 200} if args.quick else {"ctc": 500, "mlp": 6000}
    repeats = 1 if args.quick else args.repeats
    tables: dict[str, Found] = {}
    wanted = [("ctc", num, sleeper) for num in args.examples for sleeper in (-1, 1)]
    for model, num, sleeper in (*wanted, ("mlp", 32, -1)):
        title = f"{model}, batches of {num}"
        title += ", one process asleep half of the time" if sleeper >= 0 else ""
        task = Task(model, batches=sizes[model], sleeper=sleeper, examples=num)
        some = {
            name: way
            for name, way in ways(args.processes).items()
            if args.only in name
            and not (sleeper >= 0 and name.startswith(("1 process", "Hogwild,")))
        }
        tables[title] = measure(some, task, repeats=repeats, title=title)
    long, every_s = (100, 1.0) if args.quick else (6000, 30.0)
    record = {
        "name": f"Asynchronous training: {args.name}",
        "command": shlex.join(["python", "-m", "benchmarks.hogwild_speed", *argv]),
        "date": datetime.now(UTC).date().isoformat(),
        "commit": git_commit(),
        "machine": machine(),
        "processes": args.processes,
        "repeats": repeats,
        "tables": tables,
        "push": push_costs([1] if args.quick else [1, 10, 50], repeats=3 if args.quick else 30),
        "kills": lost_to_kills(
            Task("ctc", batches=long), args.processes, every_s=every_s, repeats=args.kills
        ),
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{record['date']}-hogwild_{args.name}.md"
    path.write_text(report(record), encoding="utf-8")
    path.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(path.read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
