"""How good is asynchronous training? Error rates after equal utterances, and after equal seconds.

    python -m benchmarks.hogwild_quality --seeds 0 1 2 --name main_job
    python -m benchmarks.hogwild_quality --quick --ways hogwild_1 hogwild_2

Trains each way once per seed, in turn, by the commands that a user types; what follows ``--`` goes
to all of them. Every figure is read from run.json and train_log.jsonl. Writes
``benchmarks/results/<date>-hogwild_<name>.md`` and ``.json``.
"""

from __future__ import annotations

import argparse
import json
import math
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
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
HOGWILD = [sys.executable, "train_hogwild.py", "hparams/train_hogwild.yaml"]
WAYS = {
    "one_process": [sys.executable, "train.py", "hparams/train.yaml"],
    "accumulation_2": [
        *(sys.executable, "train.py", "hparams/train.yaml"),
        *("--max_batch_s", "10.0", "--max_utterance_s", "10.0", "--grad_accumulation_factor", "2"),
    ],
    "ddp_2": [*TORCHRUN, "train.py", "hparams/train_ddp.yaml"],
    "ddp_2_same_batches": [
        *TORCHRUN,
        "train.py",
        "hparams/train_ddp.yaml",
        "--max_batch_s",
        "20.0",
    ],
    **{f"hogwild_{num}": [*HOGWILD, "--hogwild.num_workers", str(num)] for num in (1, 2, 4)},
    "hogwild_2_ema": [*HOGWILD, "--hogwild.ema_decay", "0.995"],
    "hogwild_2_shared": [*HOGWILD, "--hogwild.share_state", "all"],
}
"""Command of each way; DDP's default halves the batches, so that an update is as large."""
QUICK = {
    "corpus.hours": 0.05,
    "vocab_size": 80,
    "num_epochs": 1,
    "work_folder": "work/hogwild_quick",
    "model.rnn_neurons": 32,
    "model.max_decode_ratio": 0.5,
    "model.beam_size": 2,
}
Found = dict[str, Any]


def train(way: str, seed: int, folder: Path, options: Sequence[str]) -> Found:
    """Train once; return the figures of the run."""
    command = [*WAYS[way], "--seed", str(seed), "--output_folder", str(folder), *options]
    print(time.strftime("%T"), "$", shlex.join(command[1:]), flush=True)
    log = ROOT / folder.with_suffix(".out")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as file:
        subprocess.run(command, cwd=ROOT, check=True, stdout=file, stderr=subprocess.STDOUT)
    record = json.loads((ROOT / folder / "run.json").read_text(encoding="utf-8"))
    lines = (ROOT / folder / "train_log.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["stage"] == "valid"]
    curve = [(row["train_s"] + row["valid_s"], row["wer"]) for row in rows]
    return {"way": way, "seed": seed, "record": record, "curve": curve}


def at(curve: Sequence[tuple[float, float]], seconds: float) -> float:
    """Return the best validation WER of a run after some seconds of training and validation."""
    return min((wer for when, wer in curve if when <= seconds), default=math.nan)


def interval(values: Sequence[float]) -> str:
    """Return median and 95 % interval of the mean (t-distribution), as text."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known:
        return "-"
    if len(known) < 2:
        return f"{known[0]:.2f}"
    quantiles = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78}
    width = quantiles.get(len(known), 2.5) * statistics.stdev(known) / math.sqrt(len(known))
    return f"{statistics.median(known):.2f} ± {width:.2f}"


def report(name: str, command: str, runs: Sequence[Found]) -> str:
    """Return the report in Markdown."""
    first = runs[0]["record"]
    shortest_s = min(run["curve"][-1][0] for run in runs)
    lines = [f"# Quality of asynchronous training: {name}", "", f"- command: `{command}`"]
    lines += [f"- date: {first['written'][:10]}; commit: {first['commit']}"]
    lines += [f"- machine: {first['machine']['processor']}, {first['machine']['cores']} cores"]
    lines += ["- median over seeds ± 95 % interval of the mean; test at the best validation WER;"]
    lines += [f"  equal seconds: {shortest_s:.0f} s of training and validation", ""]
    lines += [
        "| way | WER | WER-P | CER-P | valid WER at equal seconds | target after s | train s |"
    ]
    lines += ["|---|--:|--:|--:|--:|--:|--:|"]
    for way in dict.fromkeys(run["way"] for run in runs):
        own = [run for run in runs if run["way"] == way]
        tests = [next(iter(run["record"]["results"].values())) for run in own]
        columns = [[test[metric] for test in tests] for metric in ("wer", "wer_p", "cer_p")]
        columns += [[at(run["curve"], shortest_s) for run in own]]
        columns += [[run["record"]["target_reached_s"] for run in own]]
        columns += [[run["record"]["clock_s"]["train"] for run in own]]
        lines += [f"| {way} | " + " | ".join(map(interval, columns)) + " |"]
    lines += ["", "## Workers", "", "| way | staleness | p95 | lost updates | updates by worker |"]
    lines += ["|---|--:|--:|--:|---|"]
    for run in runs:
        found = run["record"].get("hogwild")
        if found:
            cells = [f"{run['way']}, seed {run['seed']}", f"{found['staleness_mean']:.2f}"]
            cells += [str(found["staleness_p95"]), f"{found['lost_updates_share']:.1e}"]
            lines += ["| " + " | ".join([*cells, str(found["updates_by_worker"])]) + " |"]
    return "\n".join([*lines, ""])


def main(argv: Sequence[str]) -> int:
    """Train every way with every seed, then write the report."""
    own, rest = list(argv), []
    if "--" in own:
        own, rest = own[: own.index("--")], own[own.index("--") + 1 :]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--name", default="quality")
    parser.add_argument("--quick", action="store_true", help="a tiny corpus: does it run?")
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks"))
    args = parser.parse_args(own)
    date = datetime.now(UTC).date().isoformat()
    if args.quick:
        rest = [word for key, value in QUICK.items() for word in (f"--{key}", str(value))] + rest
    runs = []
    for seed in args.seeds[:1] if args.quick else args.seeds:
        for way in args.ways:
            folder = args.runs / f"{date}-hogwild_{args.name}-{way}-{seed}"
            if (ROOT / folder).exists():
                parser.error(f"{folder} exists; a benchmark starts from nothing: move it away")
            runs.append(train(way, seed, folder, rest))
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{date}-hogwild_{args.name}.md"
    command = shlex.join(["python", "-m", "benchmarks.hogwild_quality", *argv])
    path.write_text(report(args.name, command, runs), encoding="utf-8")
    path.with_suffix(".json").write_text(json.dumps(runs, indent=1) + "\n", encoding="utf-8")
    print(path.read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
