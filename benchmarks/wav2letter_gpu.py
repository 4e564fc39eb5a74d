r"""Check the wav2letter recipes in half precision on a GPU, and measure their speed.

    python -m benchmarks.wav2letter_gpu
    python -m benchmarks.wav2letter_gpu --manifest ../shared/data/manifest.jsonl

Checks: losses of half precision beside float32, both rules of loss scaling from a scale that is far
too high, precision of each part, seconds and memory of a step of the full models, the criterion's
share of it, a few utterances learnt by heart, and an overflow on one of two ranks, where there are
two GPUs. The exit code is 1 if a check fails. `--quick --device cpu` shows that the program works.

The long run, for WER on dev-clean after some epochs on LibriSpeech, is the recipe's own command:

    torchrun --nproc_per_node=8 train.py \
        recipes/LibriSpeech/ASR/seq2seq_tds/hparams/train_ddp.yaml \
        --data_folder /corpora/LibriSpeech --precision fp16
"""

from __future__ import annotations

import argparse
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import wav2letter_task as tasks
from benchmarks.measuring import RESULTS, head, setting, table, write_report
from benchmarks.wav2letter_ranks import overflow_on_one_rank
from benchmarks.wav2letter_task import KINDS, SMALL, LetterPieces, Task
from recipes.common.lengths import absolute
from recipes.LibriSpeech.wav2letter.scaler import RetryScaler
from recipes.LibriSpeech.wav2letter.training import Wav2letterBrain

PACKAGES = ("torch", "speechbrain")
HIGH_SCALE = 2**24
MAX_APART = 0.02
MAX_RETRIES = 0.01
MAX_CRITERION = 0.30
MAX_LETTER_ERROR = 5.0
FULL = {"conv_glu": (4, {}), "seq2seq_tds": (16, {"num_tokens": 9998})}
"""Utterances of a batch, and sizes, of the recipes."""
Row = dict[str, Any]


def halves(args: argparse.Namespace) -> list[str]:
    """Return the half precisions of the device."""
    return ["fp16", "bf16"] if args.device == "cuda" else ["bf16"]


def data(kind: str, num: int, size: int, seconds: float) -> list[Any]:
    """Return batches of made-up utterances."""
    tokens = LetterPieces(has_end=kind == "seq2seq_tds")
    return tasks.batches_of(tasks.made_up(num, seconds=seconds), size, tokens)


def small(args: argparse.Namespace, kind: str, precision: str = "fp32", **hparams: Any) -> Task:
    """Return a small model without dropout."""
    sizes = {**SMALL[kind], "dropout": 0.0}
    lr = 0.6 if kind == "conv_glu" else 0.05
    return Task(kind, args.device, precision, sizes=sizes, hparams=hparams, lr=lr)


def check_precision(args: argparse.Namespace) -> list[Row]:
    """Train in each precision from the same start; compare the last losses."""
    rows = []
    for kind in KINDS:
        batches = data(kind, args.utterances, 8, 1.5)
        last = max(1, args.updates // 6)
        expected = tasks.train(tasks.make_brain(small(args, kind)), batches, args.updates)
        for precision in halves(args):
            brain = tasks.make_brain(small(args, kind, precision))
            found = tasks.train(brain, batches, args.updates)
            medians = [float(losses[-last:].median()) for losses in (expected, found)]
            apart = abs(medians[1] - medians[0]) / abs(medians[0])
            skipped = brain.nonfinite.num_skipped / args.updates
            is_good = apart <= MAX_APART and skipped < MAX_RETRIES and bool(found.isfinite().all())
            figures = {"float32": medians[0], "half": medians[1], "apart": apart}
            rows.append({"what": f"{kind} {precision}", "is_good": is_good, **figures})
    return rows


def check_scales(args: argparse.Namespace) -> list[Row]:
    """Begin with a loss scale that is far too high, by both rules."""
    rows = []
    for policy in ("w2l", "torch") if args.device == "cuda" else ("w2l",):
        precision = halves(args)[0]
        brain = tasks.make_brain(small(args, "conv_glu", precision, amp_policy=policy))
        if policy == "w2l":
            brain.use_scaler(RetryScaler(initial=HIGH_SCALE))
        else:
            brain.scaler = torch.GradScaler(args.device, init_scale=float(HIGH_SCALE))
        losses = tasks.train(brain, data("conv_glu", 16, 8, 1.5), args.updates)
        is_good = bool(losses[-1].isfinite()) and brain.optimizer_step > args.updates // 2
        scale, skipped = brain.scaler.get_scale(), brain.nonfinite.num_skipped
        figures = {"scale at the end": scale, "overflows": skipped, "updates": brain.optimizer_step}
        rows.append({"what": f"{policy}, begun at 2^24", "is_good": is_good, **figures})
    return rows


def check_dtypes(args: argparse.Namespace) -> list[Row]:
    """Look at the numbers that reach each part under autocast."""
    precision = halves(args)[0]
    half = {"fp16": torch.float16, "bf16": torch.bfloat16}[precision]
    fine = torch.float32
    wanted = {
        "conv_glu": {"network.layers.0": half, "network.head": half, "criterion": fine},
        "seq2seq_tds": {
            **{"encoder.stages.0.conv": half, "encoder.stages.0.norm": fine, "encoder.out": half},
            **{"decoder": fine, "decoder.out": fine},
        },
    }
    rows = []
    for kind, layers in wanted.items():
        brain = tasks.make_brain(small(args, kind, precision))
        seen: dict[str, torch.dtype] = {}
        for name, module in brain.modules.named_modules():
            if name in layers:
                module.register_forward_hook(partial(note_dtype, seen, name))
        loss = brain.fit_batch(data(kind, 2, 2, 1.0)[0])
        is_good = seen == layers and loss.total.dtype == torch.float32
        rows.append({"what": f"{kind} {precision}", "is_good": is_good, "seen": str(seen)})
    return rows


def note_dtype(seen: dict[str, torch.dtype], name: str, *call: Any) -> None:
    """Note the type of a module's output, as its forward hook."""
    seen[name] = call[-1].dtype


def check_speed(args: argparse.Namespace) -> list[Row]:
    """Time steps of the full models, and of the criterion alone at the same sizes."""
    rows = []
    for kind, (size, sizes) in FULL.items():
        batches = data(kind, size, size, args.seconds)
        base: float | None = None
        for precision in ["fp32", *halves(args)]:
            sizes_now = SMALL[kind] if args.quick else sizes
            brain = tasks.make_brain(Task(kind, args.device, precision, sizes=sizes_now))
            step_s = seconds_of(args, partial(brain.fit_batch, batches[0]))
            base = base or step_s
            figures = {"step s": step_s, "float32 / this": base / step_s, "GiB": memory_gib(args)}
            is_good = True
            if kind == "conv_glu":
                share = criterion_s(args, brain, batches[0]) / step_s
                figures["criterion"] = share
                is_good = args.device != "cuda" or share <= MAX_CRITERION
            rows.append({"what": f"{kind} {precision}", "is_good": is_good, **figures})
            del brain
    return rows


def criterion_s(args: argparse.Namespace, brain: Wav2letterBrain, batch: Any) -> float:
    """Return the seconds of ASG alone, forward and backward, on emissions of a batch."""
    with torch.no_grad():
        outputs = brain.compute_forward(batch, tasks.Stage.TRAIN)
    emissions: Tensor = outputs["emissions"].detach().requires_grad_()
    targets, lens = batch.tokens
    counts = absolute(lens, targets)

    def step() -> None:
        losses = brain.modules.criterion(emissions, outputs["num_frames"], targets, counts)
        losses.sum().backward()

    return seconds_of(args, step)


def seconds_of(args: argparse.Namespace, step: Callable[[], Any]) -> float:
    """Return the mean seconds of a step, after some that warm up."""
    for _ in range(args.warm_up):
        step()
    if args.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(args.steps):
        step()
    if args.device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / args.steps


def memory_gib(args: argparse.Namespace) -> float | None:
    """Return the most memory that tensors have held on the GPU."""
    return torch.cuda.max_memory_allocated() / 2**30 if args.device == "cuda" else None


def check_by_heart(args: argparse.Namespace) -> list[Row]:
    """Learn a few utterances by heart in half precision, real ones if there are any."""
    rows = []
    for kind in KINDS:
        tokens = LetterPieces(has_end=kind == "seq2seq_tds")
        utterances = tasks.made_up(8, seconds=1.0)
        if args.manifest is not None:
            utterances = tasks.recorded(args.manifest, 32)
        batches = tasks.batches_of(utterances, 4, tokens)
        brain = tasks.make_brain(small(args, kind, halves(args)[0]))
        tasks.train(brain, batches, args.heart_updates)
        error = tasks.letter_error(brain, batches)
        is_good = error < MAX_LETTER_ERROR or args.quick
        rows.append({"what": kind, "is_good": is_good, "letter error %": error})
    return rows


def check_ranks(args: argparse.Namespace) -> list[Row]:
    """Place an overflow on one of two ranks: no hang, equal weights."""
    if args.device == "cuda" and torch.cuda.device_count() < 2:
        return [{"what": "two GPUs", "is_good": True, "seen": "not run: fewer than two GPUs"}]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    found = overflow_on_one_rank(port, args.device, halves(args)[0])
    return [{"what": f"two ranks, {args.device}", **found}]


CHECKS: dict[str, Callable[[argparse.Namespace], list[Row]]] = {
    "Half precision beside float32": check_precision,
    "Scales that begin too high": check_scales,
    "Precision of each part": check_dtypes,
    "Speed and memory": check_speed,
    "Learnt by heart": check_by_heart,
    "An overflow on one rank": check_ranks,
}


def report(record: Mapping[str, Any]) -> list[str]:
    """Return the lines of the report."""
    lines = head("Wav2letter recipes on a GPU", record)
    lines += [f"Device: {record['device']}.", ""]
    for title, rows in record["checks"].items():
        names = list(dict.fromkeys(name for row in rows for name in row if name != "what"))
        cells = [[row["what"], *(shown(row.get(name)) for name in names)] for row in rows]
        lines += [f"## {title}", "", *table(["", *names], cells)]
    return lines


def shown(value: Any) -> str:
    """Return a figure for people."""
    return f"{value:.4g}" if isinstance(value, float) else str("" if value is None else value)


def main(argv: Sequence[str]) -> int:
    """Run the checks and write the report; return 1 if one fails."""
    args = parse(argv)
    record = setting("wav2letter_gpu", argv, PACKAGES)
    name = torch.cuda.get_device_name() if args.device == "cuda" else "CPU"
    checks = {title: check(args) for title, check in CHECKS.items()}
    record |= {"device": name, "checks": checks}
    path = write_report(args.results, f"wav2letter-{args.device}", record, report(record))
    print(path.read_text(encoding="utf-8"))
    bad = [row["what"] for rows in checks.values() for row in rows if not row["is_good"]]
    if bad:
        print(f"failed: {', '.join(bad)}", file=sys.stderr)
    return 1 if bad else 0


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--device", choices=("cuda", "cpu"), default="cuda")
    add("--utterances", type=int, default=200)
    add("--updates", type=int, default=300)
    add("--heart_updates", type=int, default=1500)
    add("--steps", type=int, default=10)
    add("--warm_up", type=int, default=3)
    add("--seconds", type=float, default=15.0, help="of an utterance, where speed is measured")
    add("--manifest", type=Path, help="real recordings to learn by heart")
    add("--results", type=Path, default=RESULTS)
    add("--quick", action="store_true", help="small sizes: shows that all works")
    args = parser.parse_args(argv)
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("no GPU is there; expected one, or --quick --device cpu.")
    if args.quick:
        args.utterances, args.updates, args.heart_updates = 16, 6, 4
        args.steps, args.warm_up, args.seconds = 1, 1, 0.5
    return args


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
