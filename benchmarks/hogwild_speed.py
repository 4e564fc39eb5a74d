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
from recipes.common.report import machine

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
        f"{num} independent processes (ceiling)": lambda task: unbound(
            methods.in_processes(methods.independent, num, task)
        ),
        "DDP (gloo)": group(0),
        f"local SGD, averages every {methods.AVERAGE_EVERY}": group(methods.AVERAGE_EVERY),
        "PyTorch's example": lambda task: methods.stock_hogwild(task, num),
        "Hogwild": lambda task: methods.hogwild(task, num_workers=num),
        "Hogwild, flock": lambda task: methods.hogwild(task, num_workers=num, lock="flock"),
        "Hogwild, all moments shared": lambda task: methods.hogwild(
            task, num_workers=num, share_state="all"
        ),
        "Hogwild, pull and push": lambda task: methods.hogwild(
            task, num_workers=num, access="pull_push"
        ),
    }


def unbound(found: Found) -> Found:
    """Return the seconds that processes would need which share the work as they are able to."""
    return {"seconds": found["seconds_unbound"]}


def measure(way: Callable[[Task], Found], task: Task, repeats: int) -> Found:
    """Return medians of updates and utterances per second, and memory per process."""
    found, memory = [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            found.append(way(replace(task, folder=folder)))
            notes = [json.loads(path.read_text()) for path in Path(folder).iterdir()]
            memory += [note["Pss"] for note in notes]
    seconds = statistics.median(one["seconds"] for one in found)
    examples = len(task.fetch(0).id)
    return {
        "batches_per_s": task.batches / seconds,
        "utterances_per_s": task.batches * examples / seconds,
        "all_batches_per_s": [round(task.batches / one["seconds"], 2) for one in found],
        "memory_mib": statistics.median(memory) if memory else None,
        "staleness_mean": found[-1].get("staleness_mean"),
        "lost_updates_share": found[-1].get("lost_updates_share"),
    }


def lost_to_kills(task: Task, num: int, every_s: float) -> Found:
    """Return how much longer an epoch takes if a worker is killed now and then."""
    plain = methods.hogwild(task, num_workers=num)
    killed = methods.hogwild(task, num_workers=num, kill_every_s=every_s)
    lost_s = killed["seconds"] - plain["seconds"]
    return {
        "every_s": every_s,
        "plain_s": plain["seconds"],
        "killed_s": killed["seconds"],
        "kills": killed["restarts"],
        "lost_s_per_kill": lost_s / max(killed["restarts"], 1),
    }


def report(record: Found) -> str:
    """Return the report in Markdown."""
    lines = [f"# {record['name']}", "", f"- command: `{record['command']}`"]
    lines += [f"- date: {record['date']}; commit: {record['commit']}"]
    lines += [f"- machine: {record['machine']['processor']}, {record['machine']['cores']} cores"]
    lines += ["- batches/s: gradients of one batch each, of all processes; under DDP an update has"]
    lines += ["  as many as there are processes", ""]
    for title, table in record["tables"].items():
        lines += [f"## {title}", ""]
        lines += ["| way | batches/s | to DDP | MiB per process | staleness | lost updates |"]
        lines += ["|---|--:|--:|--:|--:|--:|"]
        base = table.get("DDP (gloo)", {}).get("batches_per_s", float("nan"))
        for name, row in table.items():
            cells = [f"{row['batches_per_s']:.1f}", f"{row['batches_per_s'] / base:.2f}"]
            cells += [_shown(row[key]) for key in ("memory_mib", "staleness_mean")]
            cells += [_shown(row["lost_updates_share"], "{:.1e}")]
            lines += [f"| {name} | " + " | ".join(cells) + " |"]
        lines += [""]
    lines += ["## Cost of an update, ms", "", "| parameters | way | ms |", "|--:|---|--:|"]
    lines += [f"| {c['parameters']:,} | {c['way']} | {c['ms']:.2f} |" for c in record["push"]]
    lines += ["", "## A worker killed now and then", ""]
    lines += ["; ".join(f"{key} {_shown(value)}" for key, value in record["kills"].items()), ""]
    return "\n".join(lines)


def _shown(value: Any, form: str = "{:.2f}") -> str:
    return "-" if value is None else form.format(value)


def main(argv: Sequence[str]) -> int:
    """Measure everything and write the report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--name", default="speed")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a few batches: does it run?")
    parser.add_argument("--only", default="", help="ways whose name contains this")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    sizes = {"ctc": 30, "mlp": 200} if args.quick else {"ctc": 600, "mlp": 20_000}
    repeats = 1 if args.quick else args.repeats
    tables: dict[str, Found] = {}
    for model, sleeper in (("ctc", -1), ("mlp", -1), ("ctc", 1)):
        title = model + (", one process asleep half of the time" if sleeper >= 0 else "")
        task = Task(model, batches=sizes[model], sleeper=sleeper)
        tables[title] = {}
        for name, way in ways(args.processes).items():
            if args.only in name and not (sleeper >= 0 and name.startswith("1 process")):
                tables[title][name] = measure(way, task, repeats)
                rate = tables[title][name]["batches_per_s"]
                print(f"{time.strftime('%T')} {title}: {name}: {rate:.1f}", flush=True)
    kills = (Task("ctc", batches=100), 1.0) if args.quick else (Task("ctc", batches=9000), 30.0)
    record = {
        "name": f"Asynchronous training: {args.name}",
        "command": shlex.join(["python", "-m", "benchmarks.hogwild_speed", *argv]),
        "date": datetime.now(UTC).date().isoformat(),
        "commit": git_commit(),
        "machine": machine(),
        "tables": tables,
        "push": push_costs([1] if args.quick else [1, 10, 50], repeats=3 if args.quick else 30),
        "kills": lost_to_kills(kills[0], args.processes, kills[1]),
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{record['date']}-hogwild_{args.name}.md"
    path.write_text(report(record), encoding="utf-8")
    path.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(path.read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
