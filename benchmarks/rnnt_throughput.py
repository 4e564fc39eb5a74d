"""Measure how fast the transducer trains: the reference's way against the recipe's, in one run.

    python -m benchmarks.rnnt_throughput --model small.yaml --batch 16 --updates 10
    python -m benchmarks.rnnt_throughput --batch 192 --updates 50
    python -m benchmarks.rnnt_throughput --batch 192 --updates 50 --precision fp16 --loss triton

No files are read: utterances of 195,840 samples and 56 tokens (`canonical`, what the benchmark's
scripts take for throughput) or of simulated lengths (`simulated`). All ways are the recipe's own
Brain. The reference's has fp32 (TF32 products allowed), micro-batches of 16, all logits at once
with torchaudio's loss, SpecAugment mask by mask, optimizer and average tensor by tensor, utterances
in any order. It stands in for the benchmark's code, which does not run on this version of PyTorch.
`padded` is the fast way without what leaves padding out: all logits, no sequence splitting. All
train by LAMB, one after the other in one run. On a CPU the seconds are those of this process's CPU
time, so that other processes do not count.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.measuring import RESULTS, head, setting, table, write_report
from benchmarks.rnnt_measuring import fault_of, now, peak_mib, reset_peak
from benchmarks.rnnt_task import Stages, make_batch, make_brain, train_on

PACKAGES = ("torch", "torchaudio", "speechbrain")
MODES = ("reference", "padded", "fast")
SHAPES = ("canonical", "simulated")
NUM_BATCHES, NUM_PROFILED, TOP = 4, 3, 12
REFERENCE_MICRO_BATCH = 16


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the options of a command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n")[0])
    parser.add_argument("--model", choices=["train.yaml", "small.yaml"], default="train.yaml")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=["reference", "fast"])
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--batch", type=int, default=192, help="utterances of an update")
    parser.add_argument("--updates", type=int, default=50)
    parser.add_argument("--warmup", type=int, default=10)
    parser.add_argument("--precision", default=None, help="of the fast way; default: the YAML's")
    parser.add_argument("--loss", default=None, help="of the fast way; default: the YAML's")
    parser.add_argument("--threads", type=int, default=1, help="on a CPU")
    parser.add_argument("--name", default=None, help="of the report; default: by the device")
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args(argv)


def measure(mode: str, shape: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return speed, memory, stages and the profiler's top entries of one way."""
    with tempfile.TemporaryDirectory() as folder:
        own = {} if mode == "reference" else {"precision": options.precision, "loss": options.loss}
        own = {key: value for key, value in own.items() if value is not None}
        if mode == "padded":
            own |= {"loss": "torchaudio", "splits_sequences": False}
        brain = make_brain(options.model, mode, Path(folder), num_threads=options.threads, **own)
        device = brain.device_type
        batches = [
            make_batch(
                options.batch, shape=shape, vocab_size=brain.hparams.vocab_size, seed=seed,
                pin=device == "cuda", by_length=mode != "reference",
            )
            for seed in range(NUM_BATCHES)
        ]  # fmt: skip
        micro = min(options.batch, REFERENCE_MICRO_BATCH if mode == "reference" else options.batch)
        seconds, before = [], 0.0
        for number in range(options.warmup + options.updates):
            if number == options.warmup:
                before = reset_peak(device)
            begun = now(device)
            train_on(brain, batches[number % NUM_BATCHES], micro_batch=micro)
            seconds.append(now(device) - begun)
        used = seconds[options.warmup :]
        found = {
            "mode": mode,
            "shape": shape,
            "device": torch.cuda.get_device_name() if device == "cuda" else device,
            "precision": brain.precision,
            "loss": brain.hparams.loss,
            "micro_batch": micro,
            "update_s": median(used),
            "all_s": used,
            "utterances_per_s": options.batch / median(used),
            "before_mib": before,
            "peak_mib": peak_mib(device),
            "loss_value": brain.mean_train_loss(),
        }
        found["stages_s"] = stages_of(brain, batches[0], micro)
        found["top"] = top_of(brain, batches[0], micro)
        return found


def attempt(mode: str, shape: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return what `measure` does, or the way's fault."""
    try:
        return measure(mode, shape, options)
    except Exception as error:  # noqa: BLE001 - reason: memory, compilers and devices fail in many
        # kinds, and one way without figures must not cost those of the others.
        return {"mode": mode, "shape": shape, "fault": fault_of(error)}


def stages_of(brain: Any, batch: Any, micro_batch: int) -> dict[str, float]:
    """Return seconds of each part of an update, the device waited for around each."""
    stages = Stages(brain)
    with stages.watch():
        train_on(brain, batch, micro_batch=micro_batch)
    return dict(stages.seconds)


def top_of(brain: Any, batch: Any, micro_batch: int) -> list[dict[str, Any]]:
    """Return what takes most time of its own, by the profiler."""
    with torch.profiler.profile() as profile:
        for _ in range(NUM_PROFILED):
            train_on(brain, batch, micro_batch=micro_batch)
        now(brain.device_type)
    name = "self_device_time_total" if brain.device_type == "cuda" else "self_cpu_time_total"
    events = sorted(profile.key_averages(), key=lambda event: -getattr(event, name))
    total = sum(getattr(event, name) for event in events)
    return [
        {"name": event.key[:70], "share": getattr(event, name) / total, "calls": event.count}
        for event in events[:TOP]
    ]


def report_lines(record: dict[str, Any]) -> list[str]:
    """Return the report."""
    lines = head("Throughput of the transducer", record)
    lines += [
        f"{record['model']}, {record['batch']} utterances an update, medians of "
        f"{record['updates']} updates after {record['warmup']}. On a CPU: seconds of CPU time.",
        "",
    ]
    header = ["way", "device", "precision", "loss", "micro-batch", "update s", "utt/s", "peak MiB"]
    rows = [row for row in record["rows"] if "fault" not in row]
    lines += table(
        header,
        [
            [f"{r['mode']}, {r['shape']}", r["device"], r["precision"], r["loss"], r["micro_batch"],
             f"{r['update_s']:.4f}", f"{r['utterances_per_s']:.2f}", f"{r['peak_mib']:.0f}"]
            for r in rows
        ],
    )  # fmt: skip
    faults = [row for row in record["rows"] if "fault" in row]
    lines += [f"No figure of {r['mode']}, {r['shape']}: {r['fault']}." for r in faults]
    for shape in record["shapes"]:
        speeds = {r["mode"]: r["utterances_per_s"] for r in rows if r["shape"] == shape}
        for mode in [m for m in speeds if m != "fast" and "fast" in speeds]:
            lines.append(f"{shape}: {speeds['fast'] / speeds[mode]:.2f} times as fast as {mode}.")
    for row in rows:
        lines += ["", f"## {row['mode']}, {row['shape']}", ""]
        stages = [[name, f"{value:.4f}"] for name, value in row["stages_s"].items()]
        lines += table(["part of an update", "s"], stages)
        top = [[f"`{e['name']}`", f"{100 * e['share']:.1f}", e["calls"]] for e in row["top"]]
        lines += table(["most time of its own", "%", "calls"], top)
    return lines


def main(argv: Sequence[str]) -> int:
    """Measure, print and write the report; return the exit code."""
    options = parse(argv)
    torch.set_num_threads(options.threads)
    record = setting("rnnt_throughput", argv, PACKAGES)
    for name in ("model", "batch", "updates", "warmup", "shapes"):
        record[name] = getattr(options, name)
    record["rows"] = []
    kind = "gpu" if torch.cuda.is_available() else "cpu"
    name = options.name or f"rnnt-throughput-{kind}"
    for shape, mode in product(options.shapes, options.modes):
        record["rows"].append(attempt(mode, shape, options))
        path = write_report(options.out, name, record, report_lines(record))
    print("\n".join(report_lines(record)), path, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
