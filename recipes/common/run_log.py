"""The log of a run: text lines, TensorBoard curves, and the JSON lines behind plots."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from speechbrain.utils.distributed import if_main_process
from speechbrain.utils.logger import get_logger
from torch.utils.tensorboard import SummaryWriter

from recipes.common.update import UpdateReport

logger = get_logger(__name__)


class RunLog:
    """Writes what happens in a run under its output folder; only the main process writes.

    - ``train_log.txt``: a line per validation and test, for people;
    - ``train_log.jsonl``: the same as JSON objects, for tools;
    - ``tensorboard/``: curves by update.

    A resumed run appends, so every line says at which update it was made.

    Arguments
    ---------
    output_folder : Path
        Folder of the run.
    log_every : int
        Updates between two points of the training curves; > 0.
    """

    def __init__(self, output_folder: Path, *, log_every: int = 50) -> None:
        self.output_folder = Path(output_folder)
        self.log_every = log_every
        self._writer: SummaryWriter | None = None
        self._lock = threading.Lock()  # updates may be noted while another thread ends a stage

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Flush the curves."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def update(self, report: UpdateReport) -> None:
        """Note one update; every ``log_every`` of them become a point of the curves."""
        if report.number % self.log_every or not if_main_process():
            return
        values = {"loss": report.loss, "grad_norm": report.grad_norm, "rate": report.rate}
        self.curves("train", values, number=report.number)

    def progress(self, figures: Mapping[str, float], *, number: int) -> None:
        """Note how fast the run is: curves, and a line in the log file."""
        if if_main_process():
            self.curves("speed", figures, number=number)
            told = ", ".join(f"{key} {shown(value)}" for key, value in figures.items())
            logger.info("update %d: %s", number, told)

    def stage(
        self,
        name: str,
        values: Mapping[str, Any],
        *,
        number: int,
        epoch: int,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """Note the end of a stage.

        Arguments
        ---------
        name : str
            "valid", or "test" with the test set's name.
        values : Mapping[str, Any]
            Figures of the stage; those that are no numbers are left out of the curves.
        number : int
            Updates applied so far.
        epoch : int
            Epochs begun so far.
        details : Mapping[str, Any] | None
            More figures, for JSON and curves only.
        """
        if not if_main_process():
            return
        self.output_folder.mkdir(parents=True, exist_ok=True)
        more = {**values, **(details or {})}
        entry = {"stage": name, "epoch": epoch, "updates": number, **more}
        figures = ", ".join(f"{key} {shown(value)}" for key, value in values.items())
        line = f"{name}: epoch {epoch}, updates {number}, {figures}"
        with (self.output_folder / "train_log.txt").open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        with (self.output_folder / "train_log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        logger.info(line)
        self.curves(name, more, number=number)

    def curves(self, name: str, values: Mapping[str, Any], *, number: int) -> None:
        """Add a point to the curves ``name/key`` at update `number`; numbers only."""
        if not if_main_process():
            return
        with self._lock:
            for key, value in values.items():
                if isinstance(value, int | float):
                    self._open_writer().add_scalar(f"{name}/{key}", value, number)

    def histogram(self, name: str, counts: Sequence[int], *, number: int) -> None:
        """Add a histogram of whole numbers: how often 0, 1, 2, ... were seen."""
        if not if_main_process() or not sum(counts):
            return
        values = range(len(counts))
        with self._lock:
            self._open_writer().add_histogram_raw(
                name,
                min=next(value for value in values if counts[value]),
                max=len(counts) - 1,
                num=sum(counts),
                sum=sum(value * count for value, count in zip(values, counts, strict=True)),
                sum_squares=sum(v * v * count for v, count in zip(values, counts, strict=True)),
                bucket_limits=[value + 0.5 for value in values],
                bucket_counts=list(counts),
                global_step=number,
            )

    def _open_writer(self) -> SummaryWriter:
        if self._writer is None:
            self._writer = SummaryWriter(str(self.output_folder / "tensorboard"))
        return self._writer


def shown(value: Any) -> str:
    """Return a figure in the precision that people read."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
