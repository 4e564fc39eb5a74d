"""What a run has written, as one row of figures: from run.json and train_log.jsonl only."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from comparing.figures import best_so_far, is_reached


@dataclass(frozen=True)
class Point:
    """One validation.

    Arguments
    ---------
    updates, utterances : int, int
        Applied and trained on so far.
    began_s, seconds : float, float
        Training and validation until the validation began, when its model was there; and until its
        figure was known.
    value : float
        Figure of the validation.
    """

    updates: int
    utterances: int
    began_s: float
    seconds: float
    value: float


@dataclass(frozen=True)
class Record:
    """A run that has ended.

    Arguments
    ---------
    folder : Path
        Its output folder.
    run : Mapping[str, Any]
        run.json.
    curve : Sequence[Point]
        Its validations.
    metric : str
        Their figure.
    """

    folder: Path
    run: Mapping[str, Any]
    curve: Sequence[Point]
    metric: str

    @property
    def total_s(self) -> float:
        """Seconds of training and validation."""
        return float(sum(self.run["clock_s"].values()))

    @property
    def best_so_far(self) -> list[float]:
        """The best figure up to each validation."""
        return best_so_far(self.metric, [point.value for point in self.curve])

    @property
    def best(self) -> float | None:
        """Best figure of the validations."""
        return self.best_so_far[-1] if self.curve else None

    def best_at(self, seconds: float) -> float | None:
        """Return the best figure at some seconds of the clock; None before the first model.

        A run is validated now and then only. Between the models that were there before and after
        it, the best figure so far lies on the straight line: a run would else be credited with a
        model of up to an epoch ago.
        """
        times = [point.began_s for point in self.curve]
        if not times or seconds < times[0]:
            return None
        return float(np.interp(seconds, times, self.best_so_far))

    def seconds_to(self, target: float | None) -> float | None:
        """Return the seconds until a validation showed a target; None: none of them did.

        Arguments
        ---------
        target : float | None
            Of the figure of validation; None: the target that the run itself had.

        Returns
        -------
        float or None
            Of training and validation, until that validation ended.
        """
        if target is None:
            return self.run.get("target_reached_s")
        points = (p for p in self.curve if is_reached(self.metric, p.value, target))
        return next((point.seconds for point in points), None)

    def figures(
        self, metrics: Sequence[str], *, target: float | None = None
    ) -> dict[str, float | None]:
        """Return the figures of a row: those of the first test set, and those of the training.

        Arguments
        ---------
        metrics : Sequence[str]
            Names in the results of the test.
        target : float | None
            See `seconds_to`.

        Returns
        -------
        dict of str to float or None
            None: the run has no such figure.
        """
        run = self.run
        test: Mapping[str, Any] = next(iter(run["results"].values()), {})
        workers: Mapping[str, Any] = run.get("hogwild") or {}
        return {
            **{metric: test.get(metric) for metric in metrics},
            "valid": self.best,
            "target_s": self.seconds_to(target),
            "total_s": self.total_s,
            "utterances_per_s": run["utterances_trained"] / self.total_s if self.total_s else None,
            "updates_per_s": run["updates"] / self.total_s if self.total_s else None,
            "staleness": workers.get("staleness_mean"),
            "staleness_p95": workers.get("staleness_p95"),
            "lost_updates_share": workers.get("lost_updates_share"),
        }


def read_record(folder: Path, *, metric: str) -> Record:
    """Read a run.

    Arguments
    ---------
    folder : Path
        With run.json.
    metric : str
        Figure of the validations that makes the curve.

    Returns
    -------
    Record
        The run.

    Raises
    ------
    ValueError
        If the log of validations lacks the figure.
    """
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    path = folder / "train_log.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    rows = [row for row in map(json.loads, lines) if row["stage"] == "valid"]
    missing = [row["epoch"] for row in rows if not {metric, "utterances", "train_s"} <= row.keys()]
    if missing:
        raise ValueError(
            f"{path}: validations (epochs {missing[:5]}) lack {metric!r}, utterances or train_s; "
            f"expected them in each; choose a valid_metric among {sorted(rows[0])}."
        )
    # A restart may have repeated a validation: the later line holds.
    latest = {row["updates"]: row for row in rows}
    points = _points([latest[updates] for updates in sorted(latest)], metric)
    return Record(folder, run, points, metric)


def _points(rows: Sequence[Mapping[str, Any]], metric: str) -> list[Point]:
    points, validated_s = [], 0.0
    for row in rows:
        train_s, valid_s = row["train_s"], row["valid_s"]
        seconds = (train_s + validated_s, train_s + valid_s)
        points.append(Point(row["updates"], row["utterances"], *seconds, row[metric]))
        validated_s = valid_s
    return points
