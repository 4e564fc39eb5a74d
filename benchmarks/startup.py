"""Measure start-up on the index of nine million utterances: plan, first batch, memory.

    python -m benchmarks.startup
    python -m benchmarks.startup --quick

The index is synthetic, the size of a corpus of 20,000 hours in 3,000 shards; the shards are sparse
files with real utterances only where batches are read. Every figure comes from a fresh process
that does one thing, in turn; each is the median of the repeats.
"""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.contestant import Clocks, Contestant, serve
from benchmarks.measuring import (
    RESULTS,
    ROOT,
    PeakMemory,
    head,
    median_of,
    setting,
    spread_of,
    table,
    write_report,
)
from benchmarks.startup_index import fill, is_made, write_big_index

MODULE = "benchmarks.startup"
PACKAGES = ("torch", "numpy", "soundfile", "speechbrain")
NUM_BATCHES = 8
STATE_NAME = "middle.json"
WAYS = {
    "load and plan": {"do": "plan", "workers": 0, "is_resumed": False},
    "first batch, fresh": {"do": "batch", "workers": 0, "is_resumed": False},
    "first batch, resumed in mid-epoch": {"do": "batch", "workers": 0, "is_resumed": True},
    "first batch, fresh, 2 loader workers": {"do": "batch", "workers": 2, "is_resumed": False},
    "first batch, resumed, 2 loader workers": {"do": "batch", "workers": 2, "is_resumed": True},
}


def make_loader(folder: Path, workers: int) -> Any:
    """Return the project's loader of the split."""
    from data_prepare.stream import ShardLoader

    return ShardLoader(
        folder,
        max_batch_s=240.0,
        shuffle=True,
        seed=1,
        too_long="skip",
        num_workers=workers,
        rank=0,
        world_size=1,
    )


def make_split(folder: Path, *, num_utterances: int, num_shards: int) -> None:
    """Make the split, with real utterances at its start and in its middle; or find it."""
    state = folder.parent / STATE_NAME
    if is_made(folder, num_utterances=num_utterances) and state.is_file():
        return
    shutil.rmtree(folder, ignore_errors=True)
    write_big_index(folder, num_utterances=num_utterances, num_shards=num_shards)
    loader = make_loader(folder, 0)
    plan = loader.sequence.plan(0)
    middle = plan.num_batches // 2
    for first in (0, middle):
        last = min(first + 4 * NUM_BATCHES, plan.num_batches)  # what loader workers read ahead
        fill(loader.index, plan.order[plan.starts[first] : plan.starts[last]])
    position = loader.state_dict()
    used = int(plan.starts[middle])
    position["position"] |= {"num_utterances": used, "epoch_batches": middle}
    state.write_text(json.dumps(position), encoding="utf-8")


def answer(folder: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    """Load, and plan or take the first batches; returns seconds and memory afterwards."""
    before_mib, clocks = _peak_mib(), Clocks()
    loader = make_loader(folder, request["workers"])
    loaded = clocks.read()
    if request["is_resumed"]:
        loader.load_state_dict(json.loads((folder.parent / STATE_NAME).read_text(encoding="utf-8")))
    found = {"utterances": loader.index.num_utterances, "hours": _hours(loader)}
    if request["do"] == "plan":
        plan = loader.sequence.plan(0)
        found |= clocks.read() | {"batches": plan.num_batches, "report": plan.report()}
    else:
        batches = iter(loader)
        next(batches)
        found |= clocks.read()
        for _ in range(NUM_BATCHES - 1):
            next(batches)
        time.sleep(request["settle_s"])  # the watcher shall see the loader workers
    memory = {"peak_mib": _peak_mib(), "before_mib": before_mib}
    return found | {"load_s": loaded["wall_s"]} | memory


def _peak_mib() -> float:
    """Return the most memory this process has held so far, mapped files included."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def _hours(loader: Any) -> float:
    return float(loader.index.num_samples / loader.index.rate_hz / 3600)


def measure(args: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Take all ways in turn, each in a fresh process."""
    rows = []
    for repeat in range(args.repeats):
        for name, way in WAYS.items():
            with Contestant(MODULE, ["--serve", str(folder)]) as contestant:
                contestant.ask({"do": "nothing"})
                with PeakMemory(contestant.pid) as memory:
                    row = contestant.ask({**way, "settle_s": 0.2})
            rows.append({"way": name, "repeat": repeat, **row, **memory.summary()})
    return rows


def report(record: Mapping[str, Any]) -> list[str]:
    """Return the lines of the report."""
    first = record["runs"][0]
    plan = first["report"]
    lines = head("Start-up", record)
    lines += [
        f"Index: {first['utterances']:,} utterances, {first['hours']:,.0f} h, "
        f"{record['shards']:,} shards, {record['rows_mib']:.0f} MiB of rows. The plan of a pass: "
        f"{first['batches']:,} batches of up to 240 padded seconds, "
        f"{100 * plan['padding_share']:.1f} % padding.",
        "",
        "Each line: a fresh process, its libraries loaded before the clock starts. `load` is part "
        "of `wall`: opening and checking the index. Peak: the most resident memory of the process, "
        "with libraries and the mapped index; before: the same before the index was loaded. PSS "
        "(shared pages by parts) and USS (own pages only) of the largest loader worker.",
        "",
    ]
    names = ("load_s", "wall_s", "cpu_s")
    memories = ("peak_mib", "before_mib", "worker_pss_mib", "worker_uss_mib")
    cells = []
    for way in WAYS:
        rows = [row for row in record["runs"] if row["way"] == way]
        seconds = [f"{median_of(rows, name):.2f}" for name in names]
        mib = [median_of(rows, name) for name in memories]
        shown = ["" if value is None else f"{value:.0f}" for value in mib]
        cells.append([way, *seconds, spread_of(rows, "wall_s"), *shown])
    titles = [name.replace("_mib", " MiB").replace("_s", " s") for name in (*names, *memories)]
    return lines + table(["", *titles[:3], "range", *titles[3:]], cells)


def main(argv: Sequence[str]) -> int:
    """Measure and write the report, or serve one process of it."""
    args = parse(argv)
    if args.serve:
        import data_prepare.stream  # noqa: F401 - before any clock starts

        nothing: dict[str, Any] = {}
        serve(lambda ask: nothing if ask["do"] == "nothing" else answer(args.serve, ask))
        return 0
    folder = args.work / "train"
    make_split(folder, num_utterances=args.utterances, num_shards=args.shards)
    record = setting("startup", argv, PACKAGES)
    rows = measure(args, folder)
    size = (folder / "utterances.npy").stat().st_size
    record |= {"shards": args.shards, "rows_mib": size / 2**20, "runs": rows}
    path = write_report(args.results, "startup", record, report(record))
    print(path.read_text(encoding="utf-8"))
    return 0


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--utterances", type=int, default=9_000_000)
    add("--shards", type=int, default=3000)
    add("--repeats", type=int, default=3)
    add("--work", type=Path, help="where the split lies or is made")
    add("--results", type=Path, default=RESULTS)
    add("--quick", action="store_true", help="few utterances, one repeat: shows that all works")
    add("--serve", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.quick:
        args.utterances, args.shards, args.repeats = 3000, 10, 1
    work = ROOT / "runs" / "benchmarks" / f"startup-{args.utterances}"
    args.work = (args.work or work).resolve()
    return args


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
