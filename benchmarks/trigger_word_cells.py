"""The six cells of the published comparison of precisions on the trigger word, beside ours.

    python -m benchmarks.trigger_word_cells                                          a GPU
    python -m benchmarks.trigger_word_cells --device cpu -- --clip_s 2.0 --rate_hz 8000 \
        --corpus.max_triggers 1

The preset parity.yaml with the source's batches and numbers of updates, its precisions compared by
compare_precision.py over seeds; the checkpoint of the third trial is trained first, by the same
preset with rates that learn. What follows ``--`` goes to every run: on a CPU shorter clips, since a
batch of 64 clips of 10 s takes a quarter of a minute there. Leaves the reports of the three
comparisons, and ``benchmarks/results/<date>-trigger_word-cells.md`` and ``.json`` with all of them
in a table.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import precision_gpu
from benchmarks.measuring import RESULTS, ROOT, head, setting, table, write_report

PARITY = "recipes/TriggerWord/Detection/conv_gru/hparams/parity.yaml"
NUM_CLIPS, NUM_EPOCHS = 70, 10
CLIP_S = "--clip_s"
HOW = {"warmup_steps": 4, "timed_steps": 14, "num_batches": None, "valid_batches": None}
"""At most 20 updates in all, as many as the shortest cells have."""
LEARNS = {"lr": 0.001, "decay": 0.0, "model.dropout": 0.2, "model.norm_momentum": 0.1}


@dataclass(frozen=True)
class Trial:
    """Two published cells: one run with mixed precision, one without.

    Arguments
    ---------
    start : str
        "scratch" or "pre-trained".
    batch : int
        Clips of a batch.
    mixed, single : tuple of (float, float)
        Final training loss, and seconds in all, with mixed precision and without.
    """

    start: str
    batch: int
    mixed: tuple[float, float]
    single: tuple[float, float]

    @property
    def num_updates(self) -> int:
        """Updates of ten epochs, the last batch kept."""
        return NUM_EPOCHS * math.ceil(NUM_CLIPS / self.batch)

    @property
    def time_ratio(self) -> float:
        """Seconds with mixed precision over those without."""
        return self.mixed[1] / self.single[1]


PUBLISHED = (
    Trial("scratch", 64, (0.6885, 100.596), (1.2722, 86.03)),
    Trial("scratch", 32, (0.6788, 150.20), (1.225, 127.96)),
    Trial("pre-trained", 64, (0.2833, 99.3), (0.2695, 96.67)),
)
"""github.com/SarthakGarg19/Automatic-Mixed-Precision, as its notebooks print them."""


def pretrain(folder: Path, *, args: argparse.Namespace) -> Path:
    """Train the checkpoint of the third trial; return its model.ckpt."""
    own = {"output_folder": folder, "work_folder": folder / "work", "device": args.device}
    own |= {"corpus.num_clips": "{train: 400, valid: 60, test: 60}", **LEARNS}
    words = [word for name, value in own.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "train.py", PARITY, *words, *args.options]
    print("$", shlex.join(["python", *command[1:]]), flush=True)
    subprocess.run(command, cwd=ROOT, check=True)
    (found,) = (ROOT / folder).glob("checkpoints/*/model.ckpt")
    return found


def cases(checkpoint: Path, *, clip_s: float) -> Iterator[tuple[Trial, precision_gpu.Case]]:
    """Yield the trials, and the run of each."""
    for trial in PUBLISHED:
        options = ["--max_batch_s", str(trial.batch * clip_s)]
        if trial.start == "pre-trained":
            options += ["--model.initial_weights", str(checkpoint)]
        name = f"triggerword-parity-{trial.start}-{trial.batch}"
        yield trial, precision_gpu.Case(name, PARITY, tuple(options))


def row_of(trial: Trial, record: dict[str, Any]) -> list[str]:
    """Return the cells of a trial: published, recomputed, ours."""
    (one,) = record["comparisons"]
    speed, bce = one["cpu_ms" if record["device"] == "cpu" else "wall_ms"], one["valid"]["bce"]
    prior = one["valid"]["bce_prior"]["that"][0]
    return [
        f"{trial.start}, {trial.batch}, {trial.num_updates} updates",
        f"{trial.mixed[0]} / {trial.single[0]}",
        f"{trial.mixed[1]} / {trial.single[1]}",
        f"{trial.time_ratio:.3f}",
        f"{speed['mean']:.3f} ({speed['low']:.3f} to {speed['high']:.3f})",
        f"{sum(bce['that']) / len(bce['that']):.3f}",
        f"{bce['difference']:+.4f} ({bce['low']:+.4f} to {bce['high']:+.4f}), {bce['verdict']}",
        f"{prior:.3f}",
    ]


HEADER = (
    *("cells", "published loss, mixed / fp32", "published s, mixed / fp32", "published time ratio"),
    *("our time ratio, {arm} / fp32", "our BCE, fp32", "{arm} - fp32", "BCE of the prior"),
)
NOTES = (
    "Published: training loss under dropout 0.8, one run a cell. Ours: median time of an update, "
    "and BCE of validation clips in evaluation mode after the same number of updates, over seeds, "
    "with 95 % intervals; processor time on a CPU, wall clock on a GPU."
)


def main(argv: Sequence[str]) -> int:
    """Train the checkpoint, compare the cells, write the table; return the exit code."""
    own, options = precision_gpu.split_options(argv)
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--arm", default="bf16", choices=["bf16", "fp16"], help="beside fp32")
    parser.add_argument("--units", type=int, default=5, help="seeds")
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args(own, argparse.Namespace(options=options, **HOW))
    if args.units < 2:
        parser.error(f"--units {args.units}: expected 2 or more, an interval needs them")
    record = setting("trigger_word_cells", argv, ("torch", "speechbrain"))
    date = datetime.now(UTC).date().isoformat()
    clip_s = float(options[options.index(CLIP_S) + 1]) if CLIP_S in options else 10.0
    rows, record["comparisons"] = [], {}
    checkpoint = pretrain(args.runs / f"{date}-triggerword-pretrained", args=args)
    for trial, case in cases(checkpoint, clip_s=clip_s):
        args.updates = trial.num_updates
        name = f"{date}-precision-{precision_gpu.kind_of(args.device)}-{case.name}"
        if not precision_gpu.run(case, ("fp32", args.arm), name, args=args):
            return 1
        found = json.loads((args.results / f"{name}.json").read_text(encoding="utf-8"))
        rows.append(row_of(trial, found))
        record["comparisons"][case.name] = found["comparisons"]
    header = [cell.format(arm=args.arm) for cell in HEADER]
    title = "Trigger word: the published cells, beside ours"
    lines = [*head(title, record), *table(header, rows), NOTES]
    path = write_report(args.results, "trigger_word-cells", record, lines)
    print(path.read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
