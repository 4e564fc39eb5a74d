"""Which precision for which recipe? All recipes, all arms, one command. Meant for a GPU.

    python -m benchmarks.precision_gpu
    python -m benchmarks.precision_gpu --only trigger --units 10
    python -m benchmarks.precision_gpu --device cpu --only seq2seq librispeech mustc -- \
        --corpus.hours 0.1

Every case is one run of compare_precision.py, in a process of its own; a case that fails does not
stop the others, and the exit code tells. First comes an A/A comparison on the first case, which has
to show no difference. What follows ``--`` goes to the runs. Reports go to
``benchmarks/results/<date>-precision-<device>-<case>.md``, ``.json`` and ``.png``; a table of all
reports of the day to ``<date>-precision-<device>.md``.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch

from benchmarks.measuring import RESULTS, ROOT
from benchmarks.precision_table import write_table

TRIGGER = "recipes/TriggerWord/Detection/conv_gru/hparams"
CLIP_S = 10
HOW = ("units", "warmup_steps", "timed_steps", "num_batches", "updates", "valid_batches")
ON_GPU, ON_CPU = ("fp32", "tf32", "bf16", "fp16"), ("fp32", "bf16")


@dataclass(frozen=True)
class Case:
    """A recipe with options.

    Arguments
    ---------
    name : str
        Of the report.
    run_file : str
        YAML of train.py.
    options : tuple of str
        Of its command line.
    """

    name: str
    run_file: str
    options: tuple[str, ...] = ()


def cases() -> Iterator[Case]:
    """Yield the flagship, every recipe's small run file, and the trigger word's full model.

    A recipe that is added to the collection is found by its `small.yaml`.
    """
    yield Case("seq2seq-small", "hparams/train.yaml")
    for path in sorted((ROOT / "recipes").glob("*/*/*/hparams/small.yaml")):
        corpus, task, model = path.relative_to(ROOT / "recipes").parts[:3]
        name = f"{corpus}-{task}-{model}-small".lower()
        yield Case(name, path.relative_to(ROOT).as_posix())
    for num_clips in (32, 64, 256):
        options = ("--max_batch_s", str(num_clips * CLIP_S), "--num_workers", "4")
        yield Case(f"triggerword-full-{num_clips}", f"{TRIGGER}/train.yaml", options)
    padded = ("--model.conv_channels", "200", "--max_batch_s", str(256 * CLIP_S))
    yield Case("triggerword-200-channels-256", f"{TRIGGER}/train.yaml", padded)


def command_of(
    case: Case, arms: Sequence[str], folder: Path, *, args: argparse.Namespace
) -> list[str]:
    """Return the command of a case."""
    given = {name: getattr(args, name) for name in HOW}
    how = [word for n, v in given.items() if v is not None for word in (f"--{n}", str(v))]
    how += ["--output", str(folder)]
    words = [sys.executable, "compare_precision.py", case.run_file, *how, "--arms", *arms]
    return [*words, "--device", args.device, *case.options, *args.options]


def run(case: Case, arms: Sequence[str], name: str, *, args: argparse.Namespace) -> bool:
    """Run a case and keep its report; return whether it ended well."""
    folder = ROOT / args.runs / name
    command = command_of(case, arms, args.runs / name, args=args)
    print("$", shlex.join(["python", *command[1:]]), flush=True)
    if subprocess.run(command, cwd=ROOT, check=False).returncode:
        return False
    args.results.mkdir(parents=True, exist_ok=True)
    target = args.results / name
    for suffix in (".json", ".png"):
        shutil.copyfile(folder / f"precision{suffix}", target.with_name(target.name + suffix))
    text = (folder / "precision.md").read_text(encoding="utf-8")
    text = text.replace("(precision.png)", f"({name}.png)")
    target.with_name(target.name + ".md").write_text(text, encoding="utf-8")
    return True


def split_options(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return what stands before "--", and what after it."""
    if "--" not in argv:
        return list(argv), []
    place = argv.index("--")
    return list(argv[:place]), list(argv[place + 1 :])


def kind_of(device: str) -> str:
    """Return "cpu", or the name of the GPU for the name of a file."""
    if device == "cpu":
        return device
    return torch.cuda.get_device_name(device).replace(" ", "_").lower()


def main(argv: Sequence[str]) -> int:
    """Run the chosen cases; return the exit code."""
    own, options = split_options(argv)
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda:0", help="cpu: where there is no GPU")
    parser.add_argument("--arms", nargs="+", default=None, help="all that the device has")
    parser.add_argument(
        "--only", nargs="+", default=[""], help="cases whose names hold one of these"
    )
    parser.add_argument("--units", type=int, default=10)
    parser.add_argument("--warmup_steps", type=int, default=20)
    parser.add_argument("--timed_steps", type=int, default=50)
    parser.add_argument("--num_batches", type=int)
    parser.add_argument("--updates", type=int)
    parser.add_argument("--valid_batches", type=int)
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args(own)
    args.options = options
    is_cpu = args.device == "cpu"
    if not is_cpu and not torch.cuda.is_available():
        parser.error("no GPU is visible; --device cpu compares fp32 and bf16 here")
    chosen = [case for case in cases() if any(part in case.name for part in args.only)]
    if not chosen:
        parser.error(f"--only {args.only}: expected parts of {[c.name for c in cases()]}")
    prefix = f"{datetime.now(UTC).date().isoformat()}-precision-{kind_of(args.device)}"
    arms = args.arms or (ON_CPU if is_cpu else ON_GPU)
    planned = [(chosen[0], (arms[0], arms[0]), f"{chosen[0].name}-aa")]
    planned += [(case, tuple(arms), case.name) for case in chosen]
    failed = [
        name for case, own, name in planned if not run(case, own, f"{prefix}-{name}", args=args)
    ]
    if len(failed) < len(planned):
        print(write_table(prefix, args.results).read_text(encoding="utf-8"))
    if failed:
        print(f"failed: {', '.join(failed)}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
