"""Measure how fast batches come beside webdataset, lhotse and SpeechBrain, and their memory.

    python -m benchmarks.loading --cache warm --batch_s 60
    python -m benchmarks.loading --cache warm --batch_s 240
    python -m benchmarks.loading --cache cold --workers 1 2
    python -m benchmarks.loading --quick

Makes a synthetic corpus (or finds it), gives it to each contestant in the form it reads, and
takes whole passes in turn: one contestant at a time, each in a process of its own, all settings
of a repeat before the next repeat. The consumer looks at the lengths of a batch and nothing else.
Figures are medians over the repeats; the report says what each contestant does.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.contestant import Contestant
from benchmarks.loading_corpus import files_of, make_corpus
from benchmarks.loading_peers import CONTESTANTS
from benchmarks.loading_report import report
from benchmarks.measuring import (
    MIB,
    RESULTS,
    ROOT,
    PeakMemory,
    disk_bytes_read,
    evict,
    resident_share,
    setting,
    write_report,
)
from data_prepare.index import ShardIndex

MODULE = "benchmarks.loading_peers"
PACKAGES = ("torch", "soundfile", "numpy", "webdataset", "lhotse", "speechbrain")


def measure(args: argparse.Namespace, contestants: dict[str, Contestant]) -> list[dict[str, Any]]:
    """Take all passes in turn; returns a row a pass."""
    rows = []
    names = list(contestants)
    for repeat in range(args.repeats):
        for batch_s in args.batch_s:
            for workers in args.workers:
                turn = (repeat + workers) % len(names)
                for name in names[turn:] + names[:turn]:
                    request = {"batch_s": batch_s, "workers": workers, "seed": repeat}
                    if name == "bare" and (batch_s != args.batch_s[0] or args.cache == "cold"):
                        continue  # it knows no batches, and reads nothing
                    row = one_pass(contestants[name], name, args, request)
                    rows.append(row | request | {"contestant": name, "repeat": repeat})
        print(f"repeat {repeat + 1} of {args.repeats} done", flush=True)
    return rows


def one_pass(
    contestant: Contestant, name: str, args: argparse.Namespace, request: dict[str, Any]
) -> dict[str, Any]:
    """Ask for a pass, with its files out of the page cache before if that is wanted."""
    paths = files_of(name, args.work)
    extra: dict[str, Any] = {}
    if args.cache == "cold":
        evict(paths)
        extra["resident_share"] = resident_share(paths)
    before = disk_bytes_read(args.work)
    row = contestant.ask(request)
    after = disk_bytes_read(args.work)
    extra["disk_mib"] = (after - before) / MIB if after is not None and before is not None else None
    return row | extra


def measure_memory(args: argparse.Namespace, names: Sequence[str]) -> list[dict[str, Any]]:
    """Take a pass of each contestant in a fresh process and watch its memory."""
    rows = []
    for name in names:
        for batch_s in args.batch_s:
            request = {"batch_s": batch_s, "workers": max(args.workers), "seed": 0}
            with (
                Contestant(MODULE, [name, str(args.work)]) as contestant,
                PeakMemory(contestant.pid) as memory,
            ):
                contestant.ask(request)
            rows.append({"contestant": name, **request, **memory.summary()})
    return rows


def check(rows: Sequence[dict[str, Any]], index: ShardIndex) -> None:
    """Stop unless each pass had every utterance once, and all of its audio."""
    for row in rows:
        seconds = index.num_samples / index.rate_hz
        if row["utterances"] != index.num_utterances or abs(row["audio_s"] / seconds - 1) > 1e-4:
            raise RuntimeError(
                f"loading: {row['contestant']} gave {row['utterances']} utterances, "
                f"{row['audio_s']:.1f} s; expected {index.num_utterances}, {seconds:.1f} s: {row}"
            )


def main(argv: Sequence[str]) -> int:
    """Measure and write the report."""
    args = parse(argv)
    split = make_corpus(args.work, hours=args.hours, num_jobs=args.num_jobs)
    index = ShardIndex.load(split)
    record = setting("loading", argv, PACKAGES)
    with ExitStack() as stack:
        contestants = {
            name: stack.enter_context(Contestant(MODULE, [name, str(args.work)]))
            for name in args.contestants
        }
        warm_up = {"batch_s": args.batch_s[0], "workers": 0, "seed": 0}
        check(
            [contestants[name].ask(warm_up) | {"contestant": name} for name in contestants], index
        )
        rows = measure(args, contestants)
    check(rows, index)
    record |= {
        "cache": args.cache,
        "corpus": {
            "utterances": index.num_utterances,
            "hours": index.num_samples / index.rate_hz / 3600,
            "shards": len(index.shards),
            "mib": sum(shard.num_bytes for shard in index.shards) / MIB,
        },
        "passes": rows,
        "memory": measure_memory(args, [name for name in args.contestants if name != "bare"]),
    }
    sizes = "-".join(f"{batch_s:g}" for batch_s in args.batch_s)
    path = write_report(args.results, f"loading-{args.cache}-{sizes}s", record, report(record))
    print(path.read_text(encoding="utf-8"))
    return 0


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--cache", choices=["warm", "cold"], default="warm", help="state of the page cache")
    add("--hours", type=float, default=5.5, help="length of the corpus before filters")
    add("--repeats", type=int, default=5)
    add("--workers", type=int, nargs="+", default=[0, 1, 2], help="loader workers")
    add("--batch_s", type=float, nargs="+", default=[60.0, 240.0], help="padded seconds a batch")
    add("--contestants", nargs="+", choices=list(CONTESTANTS), default=list(CONTESTANTS))
    add("--num_jobs", type=int, default=2, help="processes that make the corpus")
    add("--work", type=Path, help="where the corpus lies or is made")
    add("--results", type=Path, default=RESULTS)
    add("--quick", action="store_true", help="a tiny corpus, one repeat: shows that all works")
    args = parser.parse_args(argv)
    if args.quick:
        args.hours, args.repeats, args.batch_s = 0.05, 1, [30.0]
    work = ROOT / "runs" / "benchmarks" / f"loading-{args.hours:g}h"
    args.work = (args.work or work).resolve()
    return args


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
