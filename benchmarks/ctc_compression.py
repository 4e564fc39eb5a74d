"""How fast is the vectorised CTC compression beside the loop over utterances? Forward and backward.

    python -m benchmarks.ctc_compression
    python -m benchmarks.ctc_compression --device cuda --threads 4 --save

The loop is that of the tests, after FBK's published one: probabilities of all steps, runs of each
utterance by `itertools.groupby`, a column of weights for each run, a product of matrices. Both get
the same states and logits; medians over repeats, in turn. One thread of a CPU is timed by its own
clock, so that others on the machine count little; all else by the wall clock. With ``--save`` the
figures become ``benchmarks/results/<date>-ctc_compression.md``.
"""

import argparse
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recipes.common.experiment import git_commit
from recipes.common.machine import machine
from recipes.MuSTC.ST.conformer.compression import CTCCompression
from tests.unit.recipes.conformer import reference_compression

RESULTS = Path(__file__).resolve().parent / "results"
STRATEGIES = ("avg", "weighted", "softmax", "fixed")


def inputs(args: argparse.Namespace) -> tuple[Tensor, Tensor, Tensor]:
    """Return states, logits whose symbols come in runs of about three steps, and lengths."""
    generator = torch.Generator().manual_seed(0)
    shape = args.utterances, args.steps
    states = torch.randn(*shape, args.size, generator=generator)
    symbols = torch.randint(args.symbols, (shape[0], shape[1] // 3 + 1), generator=generator)
    symbols = symbols.repeat_interleave(3, 1)[:, : args.steps]
    logits = torch.randn(*shape, args.symbols, generator=generator)
    logits.scatter_add_(2, symbols[..., None], torch.full((*shape, 1), 20.0))
    lengths = torch.randint(args.steps // 2, args.steps + 1, (shape[0],), generator=generator)
    lengths[0] = args.steps
    return states.to(args.device), logits.to(args.device), lengths.to(args.device)


def is_alone(args: argparse.Namespace) -> bool:
    """Whether one thread of a CPU does it all."""
    return args.device == "cpu" and args.threads == 1


def seconds_of(
    clock: Callable[[], float], function: Callable[..., Any], states: Tensor, *rest: Tensor
) -> float:
    """Return the seconds of one forward and backward pass."""
    states = states.detach().requires_grad_()
    _wait(states)
    start = clock()
    function(states, *rest)[0].sum().backward()
    _wait(states)
    return clock() - start


def _wait(states: Tensor) -> None:
    if states.device.type == "cuda":
        torch.cuda.synchronize()


def measure(args: argparse.Namespace) -> list[tuple[str, float, float]]:
    """Return strategy, median seconds of the loop, and of ours."""
    case, rows = inputs(args), []
    clock = time.process_time if is_alone(args) else time.perf_counter
    for strategy in STRATEGIES:
        ways: list[Callable[..., Any]] = [
            lambda *tensors, s=strategy: reference_compression.compress(*tensors, strategy=s),
            CTCCompression(strategy=strategy),
        ]
        times: list[list[float]] = [[], []]
        for _ in range(args.repeats + 1):
            for found, way in zip(times, ways, strict=True):
                found.append(seconds_of(clock, way, *case))
        loop_s, ours_s = (statistics.median(found[1:]) for found in times)
        rows.append((strategy, loop_s, ours_s))
    return rows


def report(args: argparse.Namespace, rows: Sequence[tuple[str, float, float]]) -> str:
    """Return the figures with where they come from, in Markdown."""
    info = machine()
    lines = [
        "# CTC compression: loop and vectorised",
        "",
        f"- command: `{shlex.join(['python', '-m', 'benchmarks.ctc_compression', *args.words])}`",
        f"- date: {datetime.now(UTC).date().isoformat()}; commit: {git_commit()}",
        f"- machine: {info['processor']}, {info['cores']} cores, {args.threads} threads, GPUs: "
        f"{', '.join(info['gpus']) or 'none'}; torch {torch.__version__}; device {args.device}",
        f"- {args.utterances} utterances of up to {args.steps} steps, {args.size} values, "
        f"{args.symbols} symbols; forward and backward, median of {args.repeats}; "
        f"{'processor time' if is_alone(args) else 'wall clock'}",
        "",
        "| strategy | loop ms | vectorised ms | times as fast |",
        "|---|--:|--:|--:|",
    ]
    lines += [f"| {n} | {1e3 * a:.1f} | {1e3 * b:.1f} | {a / b:.1f} |" for n, a, b in rows]
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str]) -> int:
    """Measure, print, and save if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--utterances", type=int, default=16)
    parser.add_argument("--steps", type=int, default=750)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--symbols", type=int, default=5001)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--save", action="store_true")
    args = parser.parse_args(argv)
    args.words = list(argv)
    torch.set_num_threads(args.threads)
    text = report(args, measure(args))
    print(text)
    if args.save:
        RESULTS.mkdir(exist_ok=True)
        date = datetime.now(UTC).date().isoformat()
        (RESULTS / f"{date}-ctc_compression.md").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
