"""When to stop: no better value for a number of validations."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from recipes.common.recoverable import loader, recoverable, saver

Mode = Literal["min", "max"]


def is_better(value: float, best: float | None, *, mode: Mode, min_delta: float = 0.0) -> bool:
    """Say whether ``value`` beats ``best`` by more than ``min_delta``; NaN beats nothing."""
    if not math.isfinite(value):
        return False
    if best is None:
        return True
    gain = best - value if mode == "min" else value - best
    return gain > min_delta


@recoverable
class EarlyStopping:
    """Recoverable: stops after ``patience`` validations in a row without a better value.

    It sees only numbers that are merged over ranks, so all ranks decide alike.

    Arguments
    ---------
    patience : int
        Validations without a better value that are borne; the next in that row stops; > 0.
    metric : str
        Key of the validation statistics: "loss", "wer", ..., or "train_loss" (a flat training
        loss, the rule of the BizSpeech thesis).
    mode : Mode
        "min" if lower is better, "max" if higher.
    min_delta : float
        Gain below which a value does not count as better, in the metric's unit; >= 0.
    num_warmup : int
        First validations that never count against the patience.
    """

    def __init__(
        self,
        patience: int,
        *,
        metric: str = "loss",
        mode: Mode = "min",
        min_delta: float = 0.0,
        num_warmup: int = 0,
    ) -> None:
        if patience < 1 or min_delta < 0 or mode not in ("min", "max"):
            raise ValueError(
                f"EarlyStopping: patience {patience}, min_delta {min_delta}, mode {mode!r}; "
                "expected patience >= 1, min_delta >= 0, mode 'min' or 'max'."
            )
        self.patience = patience
        self.metric = metric
        self.mode = mode
        self.min_delta = min_delta
        self.num_warmup = num_warmup
        self.best: float | None = None
        self.num_flat = 0
        self.num_seen = 0

    @property
    def should_stop(self) -> bool:
        """Whether the patience is used up."""
        return self.num_flat >= self.patience

    def update(self, stats: Mapping[str, float]) -> bool:
        """Note one validation and return :attr:`should_stop`.

        Arguments
        ---------
        stats : Mapping[str, float]
            Merged statistics of the validation, with "train_loss" of the epoch before it.

        Returns
        -------
        bool
            Whether training shall stop.

        Raises
        ------
        ValueError
            If the metric is not among the statistics.
        """
        if self.metric not in stats:
            raise ValueError(
                f"EarlyStopping: no {self.metric!r} among {sorted(stats)}; expected one of these; "
                "change its `metric`."
            )
        value = float(stats[self.metric])
        self.num_seen += 1
        if is_better(value, self.best, mode=self.mode, min_delta=self.min_delta):
            self.best, self.num_flat = value, 0
        elif self.num_seen > self.num_warmup:
            self.num_flat += 1
        return self.should_stop

    @saver
    def save(self, path: Path) -> None:
        """Write the memory as JSON."""
        state = {"best": self.best, "num_flat": self.num_flat, "num_seen": self.num_seen}
        Path(path).write_text(json.dumps(state), encoding="utf-8")

    @loader
    def load(self, path: Path, end_of_epoch: bool) -> None:
        """Continue with the saved memory."""
        del end_of_epoch
        state = json.loads(Path(path).read_text(encoding="utf-8"))
        self.best, self.num_flat = state["best"], state["num_flat"]
        self.num_seen = state["num_seen"]
