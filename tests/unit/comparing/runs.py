"""Runs that never ran: the files that train.py leaves, with figures of the test's choice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from comparing.jobs import NOTE, Job
from comparing.options import Comparison
from recipes.common import divergence

MACHINE = {
    "processor": "a processor",
    "cores": 7,
    "memory_gib": 15.5,
    "gpus": [],
    "python": "3.11.0",
}


def write_run(
    folder: Path,
    *,
    wer: float = 20.0,
    curve: list[tuple[int, float, float]] | None = None,
    seconds_per_epoch: float = 10.0,
    validation_s: float = 0.5,
    seed: int = 0,
    workers: dict[str, Any] | None = None,
    **fields: Any,
) -> None:
    """Write run.json and train_log.jsonl; curve: (utterances, seconds, wer) of each validation.

    A validation takes `validation_s`, which the seconds of its point and of later ones include.
    """
    points = curve or [(100, seconds_per_epoch, 90.0), (200, 2 * seconds_per_epoch, wer + 1.0)]
    run = {
        "written": "2026-01-02T03:04:05+00:00",
        "command": "python train.py hparams/train.yaml",
        "run_file": "hparams/train.yaml",
        "commit": "a" * 40,
        "seed": seed,
        "precision": "fp32",
        "world_size": 1,
        "device": "cpu",
        "parameters": 1000,
        "updates": 50,
        "utterances_trained": points[-1][0],
        "clock_s": {"train": points[-1][1] - 1.0, "valid": 1.0},
        "target": {"wer": 40.0},
        "target_reached_s": None,
        "index_checksums": {"train": "x"},
        "train_data": {"num_utterances": 100, "audio_s": 360.0},
        "machine": MACHINE,
        "packages": {"torch": "2.0", "speechbrain": "1.1"},
        "results": {
            "test": {"wer": wer, "wer_p": wer + 2, "cer_p": wer / 2, "utterances": 7, "loss": 1.0}
        },
        **({"hogwild": workers} if workers else {}),
        **fields,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps(run))
    rows = [
        {"stage": "valid", "epoch": n, "updates": 25 * n, "utterances": u, "wer": w}
        | {"train_s": s - validation_s * n, "valid_s": validation_s * n}
        for n, (u, s, w) in enumerate(points, 1)
    ]
    rows.insert(1, {"stage": "hogwild", "epoch": 1, "updates": 25})
    (folder / "train_log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def end_job(root: Path, job: Job, **figures: Any) -> None:
    """Write what a job leaves that has ended under a root; figures: see `write_run`."""
    write_run(root / job.folder, **figures)
    (root / job.folder / NOTE).write_text(job.told)


def diverge_job(root: Path, job: Job) -> None:
    """Write what a job leaves that has diverged under a root."""
    folder = root / job.folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").unlink(missing_ok=True)
    divergence.note(folder, FloatingPointError("not finite"))
    (folder / NOTE).write_text(job.told)


def small_comparison(**options: Any) -> Comparison:
    """Return a comparison of two ways and three seeds."""
    given: dict[str, Any] = {
        "run_file": "hparams/train.yaml",
        "hogwild_file": "hparams/train_hogwild.yaml",
        "ways": ["one", "hogwild"],
        "schedule": {"num_warmup": 200, "num_hold": 1400, "num_decay": 1000},
    }
    return Comparison(**{**given, **options})
