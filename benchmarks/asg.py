"""Measure the auto segmentation criterion beside autograd through a loop over frames.

    python -m benchmarks.asg
    python -m benchmarks.asg --device cuda

One step forward and backward on random emissions of the size that the Conv GLU recipe has for
utterances of 15 seconds, in turn; each figure is the median of the repeats, on one thread. The
loop is the batched recursion in float64, with nothing but PyTorch's own operations.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.measuring import RESULTS, head, median_of, setting, spread_of, table, write_report
from recipes.LibriSpeech.wav2letter.asg import ASG

PACKAGES = ("torch",)
Loss = Callable[..., Tensor]


def looped(emissions: Tensor, g: Tensor, targets: Tensor) -> Tensor:
    """Return [B] losses, not scaled, by a loop that autograd differentiates."""
    x, g = emissions.double(), g.double()
    every = x[:, 0]
    spelled = x.gather(2, targets[:, None].expand(-1, x.shape[1], -1))  # [B, T, L]
    stay, move = g[targets, targets], g[targets[:, 1:], targets[:, :-1]]
    never = torch.full_like(spelled[:, 0, :1], -1e30)
    aligned = torch.cat([spelled[:, 0, :1], never.expand(-1, targets.shape[1] - 1)], dim=1)
    for t in range(1, x.shape[1]):
        every = x[:, t] + (every[:, None] + g).logsumexp(-1)
        moved = torch.cat([never, aligned[:, :-1] + move], dim=1)
        aligned = spelled[:, t] + torch.logaddexp(aligned + stay, moved)
    return every.logsumexp(-1) - aligned[:, -1]


def problem(args: argparse.Namespace) -> dict[str, Any]:
    """Return random emissions, targets and the criterion."""
    generator = torch.Generator().manual_seed(0)
    shape = (args.batch, args.frames, args.tokens)
    steps = torch.randint(1, args.tokens, (args.batch, args.length), generator=generator)
    return {
        "emissions": torch.randn(shape, generator=generator).to(args.device),
        "targets": (steps.cumsum(1) % args.tokens).to(args.device),
        "criterion": ASG(args.tokens, scale="none").to(args.device),
    }


def ours(given: Mapping[str, Any], emissions: Tensor) -> Tensor:
    """Return the losses of the project's criterion."""
    size, frames, _ = emissions.shape
    counts = [torch.full((size,), n, device=emissions.device) for n in (frames, _length(given))]
    return given["criterion"](emissions, counts[0], given["targets"], counts[1])


def plain(given: Mapping[str, Any], emissions: Tensor) -> Tensor:
    """Return the losses of the loop."""
    return looped(emissions, given["criterion"].transitions, given["targets"])


WAYS: dict[str, Loss] = {"ours": ours, "autograd through the loop": plain}


def _length(given: Mapping[str, Any]) -> int:
    return int(given["targets"].shape[1])


def measure(given: Mapping[str, Any], way: Loss) -> dict[str, Any]:
    """Take one step; return seconds, loss and gradients."""
    emissions = given["emissions"].clone().requires_grad_()
    transitions = given["criterion"].transitions
    transitions.grad = None
    start = _now(emissions)
    total = way(given, emissions).sum()
    middle = _now(emissions)
    total.backward()
    end = _now(emissions)
    grads = emissions.grad, transitions.grad
    row = {"forward_s": middle[0] - start[0], "backward_s": end[0] - middle[0]}
    row |= {"step_s": end[0] - start[0], "cpu_s": end[1] - start[1]}
    return row | {"loss": total.item(), "grads": grads}


def _now(x: Tensor) -> tuple[float, float]:
    if x.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter(), time.process_time()


def compare(args: argparse.Namespace) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Measure both ways in turn; return the rows and how far they are apart."""
    given, rows, last = problem(args), [], {}
    measure(given, ours)  # the first call compiles and allocates
    for repeat in range(args.repeats):
        for name, way in WAYS.items():
            row = measure(given, way)
            last[name] = row
            rows.append({"way": name, "repeat": repeat} | {k: row[k] for k in row if k != "grads"})
    found, expected = (last[name] for name in WAYS)
    apart = [
        float((a - b).abs().max()) for a, b in zip(found["grads"], expected["grads"], strict=True)
    ]
    loss = abs(found["loss"] - expected["loss"]) / abs(expected["loss"])
    return rows, {"loss": loss, "emissions": apart[0], "transitions": apart[1]}


def report(record: Mapping[str, Any]) -> list[str]:
    """Return the lines of the report."""
    size, apart = record["size"], record["apart"]
    by_way = {name: [row for row in record["runs"] if row["way"] == name] for name in WAYS}
    names = ("forward_s", "backward_s", "step_s", "cpu_s")
    ratios = {}
    for name in ("step_s", "cpu_s"):
        ours_s, plain_s = (median_of(rows, name) or 0.0 for rows in by_way.values())
        ratios[name] = plain_s / ours_s
    cells = [
        [way, *(f"{median_of(rows, name):.4f}" for name in names), spread_of(rows, "step_s")]
        for way, rows in by_way.items()
    ]
    lines = head("Auto segmentation criterion", record)
    lines += [
        f"B = {size['batch']}, T = {size['frames']}, N = {size['tokens']}, L = {size['length']}, "
        f"on {size['device']}. Ratio of a step: {ratios['step_s']:.1f} by the clock, "
        f"{ratios['cpu_s']:.1f} by processor time (other processes may use the machine).",
        "",
    ]
    lines += table(["", "forward s", "backward s", "step s", "processor s", "range of step"], cells)
    return [
        *lines,
        f"Apart: loss {apart['loss']:.1e} (relative), gradient of the emissions "
        f"{apart['emissions']:.1e}, of the transitions {apart['transitions']:.1e} (absolute).",
    ]


def main(argv: Sequence[str]) -> int:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, value in (("batch", 4), ("frames", 1500), ("tokens", 30), ("length", 220)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    record = setting("asg", argv, PACKAGES)
    rows, apart = compare(args)
    size = {name: vars(args)[name] for name in ("batch", "frames", "tokens", "length", "device")}
    record |= {"size": size, "apart": apart, "runs": rows}
    path = write_report(args.results, f"asg-{args.device}", record, report(record))
    print(path.read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
