"""Measure the joint and the loss of the transducer alone: seconds and peak memory, each by itself.

    python -m benchmarks.rnnt_loss
    python -m benchmarks.rnnt_loss --device cuda --dtype bf16 --shape 192 205 56 1024
    python -m benchmarks.rnnt_loss --losses packed torchaudio --repeats 3

Forward and backward pass of the losses of `recipes/LibriSpeech/ASR/transducer/loss.py` on random
inputs; every figure comes from a process of its own. `full`: all utterances fill the shape;
`varied`: lengths from 100 % down to 40 %. Peak: memory above what was there before the first call,
on a CPU the resident set, on a GPU the allocated bytes. The pruned loss is another loss.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.measuring import RESULTS, ROOT, head, setting, table, write_report
from benchmarks.rnnt_measuring import now, peak_mib, reset_peak
from recipes.LibriSpeech.ASR.transducer.inputs import JointInputs
from recipes.LibriSpeech.ASR.transducer.loss import LOSSES, make_loss

PACKAGES = ("torch", "torchaudio")
SIZE = 512
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
LENGTHS = ("full", "varied")


def make_inputs(
    shape: Sequence[int], *, lengths: str, device: str, dtype: torch.dtype
) -> JointInputs:
    """Return what a loss is given for (utterances, steps, tokens, classes)."""
    batch, steps, tokens, classes = shape
    torch.manual_seed(0)
    shares = torch.linspace(1.0, 1.0 if lengths == "full" else 0.4, batch)
    options: dict[str, Any] = {"device": device, "dtype": dtype}
    enc, pred = (
        torch.randn(batch, n, SIZE, **options).requires_grad_() for n in (steps, tokens + 1)
    )
    num_steps, num_tokens = ((shares * n).round().long() for n in (steps, tokens))
    return JointInputs(
        enc=enc,
        pred=pred,
        tokens=torch.randint(0, classes - 1, (batch, tokens)).to(device),
        num_steps=num_steps.to(device),
        num_tokens=num_tokens.to(device),
        head=torch.nn.Linear(SIZE, classes, **options),
        host_rows=int((num_steps * (num_tokens + 1)).sum()),
    )


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return seconds of each repeat and the peak of one loss, in this process."""
    torch.set_num_threads(options.threads)
    inputs = make_inputs(
        options.shape, lengths=options.lengths, device=options.device, dtype=DTYPES[options.dtype]
    )
    loss = make_loss(
        name, chunk_rows=options.chunk_rows, joint_size=SIZE, num_classes=options.shape[3]
    )
    if isinstance(loss, torch.nn.Module):
        loss.to(options.device)
    before = reset_peak(options.device)
    seconds: list[float] = []
    for _ in range(options.repeats + 1):
        begun = now(options.device)
        losses = loss(inputs)
        losses.mean().backward()
        seconds.append(now(options.device) - begun)
    return {
        "loss": name,
        "lengths": options.lengths,
        "value": float(losses.detach().float().mean()),
        "seconds": min(seconds[1:]),
        "all_s": seconds,
        "peak_mib": peak_mib(options.device) - before,
    }


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the options of a command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n")[0])
    parser.add_argument("--losses", nargs="+", choices=LOSSES, default=None)
    parser.add_argument("--shape", nargs=4, type=int, default=[8, 205, 56, 1024])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", choices=DTYPES, default="fp32")
    parser.add_argument("--chunk_rows", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--lengths", choices=LENGTHS, default=None, help="default: both")
    parser.add_argument("--only", choices=LOSSES, help="measure here, print JSON")
    parser.add_argument("--name", default=None, help="of the report; default: by the device")
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args(argv)


def run_all(argv: Sequence[str], options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the figures of each loss and kind of lengths, each from a fresh process."""
    names = options.losses or [n for n in LOSSES if n != "triton" or options.device == "cuda"]
    rows = []
    for lengths in [options.lengths] if options.lengths else LENGTHS:
        for name in names:
            command = [sys.executable, "-m", "benchmarks.rnnt_loss", *argv]
            command += ["--only", name, "--lengths", lengths]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            if done.returncode:
                lines = done.stderr.strip().splitlines() or [f"code {done.returncode}"]
                rows.append({"loss": name, "lengths": lengths, "fault": lines[-1][:200]})
            else:
                rows.append(json.loads(done.stdout.splitlines()[-1]))
            print(rows[-1], flush=True)
    return rows


def report_lines(record: dict[str, Any]) -> list[str]:
    """Return the report."""
    batch, steps, tokens, classes = record["shape"]
    lines = head("Joint and loss of the transducer", record)
    lines += [
        f"{batch} utterances, {steps} encoder steps, {tokens} tokens, {classes} classes, "
        f"{record['dtype']} on {record['device']}, {record['threads']} threads, chunks of "
        f"{record['chunk_rows']} rows. CPU: seconds of this process's CPU time, the least of the "
        "repeats; GPU: wall clock. Peak: above what was there before. Ratios to torchaudio's loss.",
        "",
    ]
    base = {r["lengths"]: r for r in record["rows"] if r["loss"] == "torchaudio"}
    cells = []
    for row in record["rows"]:
        if "fault" in row:
            cells.append([f"{row['loss']}, {row['lengths']}", row["fault"], "", "", "", ""])
            continue
        other = base.get(row["lengths"], {})
        ratios = [
            f"{row[key] / other[key]:.2f}" if other.get(key) else ""
            for key in ("seconds", "peak_mib")
        ]
        figures = [f"{row['value']:.4f}", f"{row['seconds']:.3f}", f"{row['peak_mib']:.0f}"]
        cells.append([f"{row['loss']}, {row['lengths']}", *figures, *ratios])
    return lines + table(["loss", "mean loss", "s", "peak MiB", "s ratio", "peak ratio"], cells)


def main(argv: Sequence[str]) -> int:
    """Measure, print and write the report; return the exit code."""
    options = parse(argv)
    if options.only:
        print(json.dumps(measure(options.only, options)))
        return 0
    record = setting("rnnt_loss", argv, PACKAGES)
    for name in ("shape", "dtype", "device", "threads", "chunk_rows"):
        record[name] = getattr(options, name)
    record["rows"] = run_all(argv, options)
    lines = report_lines(record)
    print("\n".join(lines))
    name = options.name or f"rnnt-loss-{options.device}"
    print(write_report(options.out, name, record, lines))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
