"""What a run leaves behind for people and tools: the table of error rates and run.json."""

import json
import math
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from data_prepare.index import ShardIndex
from data_prepare.storage import Storage
from recipes.common.brain import StampedeBrain
from recipes.common.distributed import world_size
from recipes.common.hparams import Run
from recipes.common.machine import machine, package_versions

COLUMNS = {
    "wer": "WER %",
    "wer_p": "WER-P %",
    "cer_p": "CER-P %",
    "perplexity": "perplexity",
    "bce": "BCE",
    "bce_prior": "BCE of the prior",
    "average_precision": "AP %",
    "event_recall": "recall %",
    "false_alarms_per_hour": "false alarms/h",
    "latency_ms": "latency ms",
    "bleu": "BLEU",
    "chrf": "chrF2",
    "length_ratio": "length ratio",
    "utterances": "utterances",
}
DIGITS = {"bce": 4, "bce_prior": 4, "latency_ms": 0}  # after the point; 2 elsewhere


def _kept_training(former: dict[str, Any], record: dict[str, Any]) -> dict[str, Any]:
    merged = {key: {**former[key], **record[key]} for key in ("results", "index_checksums")}
    tested = {key: record[key] for key in ("command", "commit", "written")}
    return {**former, **merged, "tested": tested}


class Stopwatch:
    """Wall-clock seconds of the parts of a run, one after the other."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._start = self._last = time.monotonic()

    def lap(self, name: str) -> None:
        """Book the time since the last lap (or the start) under ``name``; update the total."""
        now = time.monotonic()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._last
        self.seconds["total"] = now - self._start
        self._last = now


def write_run_json(path: Path, run: Mapping[str, Any], *, has_trained: bool) -> None:
    """Write the record of a run atomically.

    A command that trained nothing more (it only tested) leaves the record of a training as it
    is: only results, index checksums and `tested` (its command, commit and date) are brought up
    to date.

    Arguments
    ---------
    path : Path
        Usually ``<output_folder>/run.json``.
    run : Mapping[str, Any]
        The run's own fields; date, packages and machine are added here.
    has_trained : bool
        Whether this command applied updates.
    """
    record = {
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        **run,
        "packages": package_versions(),
        "machine": machine(),
    }
    former = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    trained = former.get("updates")
    if trained and not has_trained and record["updates"] in (0, trained):  # 0: it only tested
        record = _kept_training(former, record)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)


def run_record(
    run: Run,
    brain: StampedeBrain,
    *,
    watch: Stopwatch,
    results: Mapping[str, Any],
    folders: Mapping[str, str | Path | Storage],
) -> dict[str, Any]:
    """Return the fields of run.json that this run decides.

    Arguments
    ---------
    run : Run
        Command line and YAML.
    brain : StampedeBrain
        After training and testing.
    watch : Stopwatch
        Laps "prepare", "train" and "test", in seconds.
    results : Mapping[str, Any]
        Test set -> summary.
    folders : Mapping[str, str | Path | Storage]
        Split or test set -> its shards.

    Returns
    -------
    dict
        Field -> plain value, for `write_run_json`.
    """
    indexes = {name: ShardIndex.load_texts(folder).checksum for name, folder in folders.items()}
    params = sum(p.numel() for p in brain.raw_modules.parameters())
    return {
        "command": shlex.join(["python", *sys.argv]),
        "run_file": str(run.path),
        "seed": run.hparams["seed"],
        "precision": brain.precision,
        "world_size": world_size(),
        "threads": torch.get_num_threads(),
        "device": str(brain.device),
        "parameters": params,
        "updates": brain.optimizer_step,
        "utterances_trained": brain.num_utterances,
        "updates_skipped": brain.nonfinite.num_skipped,
        "train_loss": brain.train_loss if math.isfinite(brain.train_loss) else None,
        "seconds": {name: round(value, 2) for name, value in watch.seconds.items()},
        "clock_s": {"train": brain.clock.train_s, "valid": brain.clock.valid_s},
        "target": {brain.options.valid_metric: brain.options.target_value},
        "target_reached_s": brain.clock.target_reached_s,
        "index_checksums": indexes,
        "results": _strict(results),
    }


def _strict(value: Any) -> Any:
    # JSON has no NaN.
    if isinstance(value, Mapping):
        return {key: _strict(part) for key, part in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def results_table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the table of all test sets and their categories, as shown at a run's end.

    Only figures that the results hold become columns; a rate without reference is a dash.

    Arguments
    ---------
    results : Mapping[str, Mapping[str, Any]]
        Test set -> summary, the `results` of run.json.

    Returns
    -------
    str
        Lines of equal columns: heading, rule, one line for each test set and category.
    """
    rows = []
    for name, summary in results.items():
        rows.append((name, summary))
        rows += [(f"  {label}", part) for label, part in summary.get("by_category", {}).items()]
    keys = [key for key in COLUMNS if any(key in summary for _, summary in rows)]
    cells = [["test set", *(COLUMNS[key] for key in keys)]]
    cells += [[name, *(_cell(key, summary.get(key)) for key in keys)] for name, summary in rows]
    return _aligned(cells)


def _cell(key: str, value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.{DIGITS.get(key, 2)}f}" if isinstance(value, float) else str(value)


def _aligned(cells: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    lines = []
    for row in cells:
        first, *rest = row
        padded = [first.ljust(widths[0])]
        padded += [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        lines.append("  ".join(padded).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)
