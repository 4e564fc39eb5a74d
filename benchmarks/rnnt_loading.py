"""Measure how fast the transducer's loader gives utterances: generated FLAC, read and decoded.

    python -m benchmarks.rnnt_loading --workers 0 1 2
    python -m benchmarks.rnnt_loading --hours 4 --workers 16

Spoken utterances in shards, as `benchmarks.loading` makes them, in global batches of the recipe.
What training on a GPU needs is its utterances a second times their length: audio seconds a second.
The first pass is not counted. Wall clock, as the trainer would wait.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.loading_corpus import make_corpus
from benchmarks.measuring import RESULTS, ROOT, head, setting, table, write_report
from data_prepare.global_batches import GlobalBatchLoader


def measure(split: Path, workers: int, options: argparse.Namespace) -> dict[str, Any]:
    """Return the speed of one pass."""
    loader = GlobalBatchLoader(
        split,
        global_batch=options.batch,
        speed=(0.85, 1.15),
        max_utterance_s=16.7,
        num_workers=workers,
    )
    for _ in loader:
        pass
    begun = time.perf_counter()
    num_utterances, num_samples = 0, 0.0
    for batch in loader:
        num_utterances += len(batch.id)
        num_samples += float(batch.wavs.lengths.sum()) * batch.wavs.data.shape[1]
    seconds = time.perf_counter() - begun
    row = {
        "workers": workers,
        "utterances_per_s": num_utterances / seconds,
        "audio_s_per_s": num_samples / loader.index.rate_hz / seconds,
    }
    print(row, flush=True)
    return row


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the options of a command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n")[0])
    parser.add_argument("--workers", nargs="+", type=int, default=[0, 2])
    parser.add_argument("--hours", type=float, default=0.5)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--work", type=Path, default=ROOT / "work" / "benchmarks" / "loading")
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """Measure, print and write the report; return the exit code."""
    options = parse(argv)
    record = setting("rnnt_loading", argv, ("torch", "soundfile"))
    split = make_corpus(options.work / f"{options.hours:g}h", hours=options.hours, num_jobs=2)
    record["rows"] = [measure(split, workers, options) for workers in options.workers]
    lines = head("The transducer's loader", record)
    lines += table(
        ["loader workers", "utterances/s", "audio s/s"],
        [
            [row["workers"], f"{row['utterances_per_s']:.1f}", f"{row['audio_s_per_s']:.0f}"]
            for row in record["rows"]
        ],
    )
    print("\n".join(lines))
    print(write_report(options.out, "rnnt-loading", record, lines))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
