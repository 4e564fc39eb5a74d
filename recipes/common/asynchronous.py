"""What a Brain needs besides when several processes train it without waiting for each other.

Statistics that a module keeps as plain attributes (InputNormalization with global statistics) would
differ in each process: they are computed once before the start and fixed from then on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from speechbrain import Stage
from speechbrain.processing.features import InputNormalization
from speechbrain.utils.run_opts import RunOptions

from recipes.common.brain import StampedeBrain
from recipes.common.loops import run_stage
from recipes.common.run_log import RunLog
from recipes.common.throughput import COUNTED, Throughput
from recipes.common.update import UpdateReport

Statistics = dict[str, dict[str, Any]]


class NoLog(RunLog):
    """A log of a worker: the parent writes for all."""

    def update(self, report: UpdateReport) -> None:
        """Write nothing."""

    def progress(self, figures: Mapping[str, float], *, number: int) -> None:
        """Write nothing."""

    def stage(self, name: str, values: Mapping[str, Any], **options: Any) -> None:
        """Write nothing."""

    def curves(self, name: str, values: Mapping[str, Any], *, number: int) -> None:
        """Write nothing."""


class AverageLog(RunLog):
    """Notes the validation of averaged parameters under a name of its own; workers go on beside it.

    Arguments
    ---------
    log : RunLog
        Where it is noted.
    """

    def __init__(self, log: RunLog) -> None:
        super().__init__(log.output_folder)
        self._log = log

    def update(self, report: UpdateReport) -> None:
        """Note an update of a worker."""
        self._log.update(report)

    def progress(self, figures: Mapping[str, float], *, number: int) -> None:
        """Note how fast the workers are."""
        self._log.progress(figures, number=number)

    def stage(self, name: str, values: Mapping[str, Any], **options: Any) -> None:
        """Note the end of a stage."""
        self._log.stage(f"{name} of the average", values, **options)

    def curves(self, name: str, values: Mapping[str, Any], *, number: int) -> None:
        """Add a point to curves."""
        self._log.curves(f"{name} of the average", values, number=number)


def validate_average(brain: StampedeBrain, valid_set: Any, epoch: int) -> None:
    """Validate parameters that are an average: figures are logged, nothing follows from them."""
    log = brain.run_log
    brain.run_log = AverageLog(log)
    brain.finish_validation = _nothing_follows  # type: ignore[method-assign]
    try:
        with brain.clock.running("valid"):
            run_stage(brain, valid_set, Stage.VALID, epoch=epoch, show=False)
    finally:
        brain.run_log = log
        del brain.finish_validation


def _nothing_follows(stats: Mapping[str, float], **options: Any) -> None:
    del stats, options


class WorkerFigures:
    """Logs what the workers did at the end of each epoch, and keeps the latest for run.json.

    Arguments
    ---------
    brain : StampedeBrain
        Whose log it goes to.
    end_faults : Callable[[], dict[str, int]]
        Gives the utterances left out so far, by kind, at the end of an epoch.
    """

    def __init__(self, brain: StampedeBrain, end_faults: Callable[[], dict[str, int]]) -> None:
        self.latest: dict[str, Any] = {}
        self._brain, self._end_faults = brain, end_faults

    def __call__(self, figures: dict[str, Any]) -> None:
        """Note the figures of an epoch; "epoch" is its number."""
        figures = {**figures, "faults_by_kind": self._end_faults()}
        self.latest = figures
        shown = {key: value for key, value in figures.items() if key != "epoch"}
        number = self._brain.optimizer_step
        log = self._brain.run_log
        log.stage("hogwild", shown, number=number, epoch=figures["epoch"])
        log.histogram("hogwild/staleness", figures["staleness_histogram"], number=number)
        for key in ("updates_per_s_by_worker", "utterances_by_worker"):
            curves = {f"{key}/{worker}": value for worker, value in enumerate(figures[key])}
            log.curves("hogwild", curves, number=number)


class WorkerProgress:
    """Tells how fast the workers are every ``log_every`` updates, as the plain trainer does.

    Arguments
    ---------
    brain : StampedeBrain
        Whose log it goes to.

    Attributes
    ----------
    statistics : SimpleNamespace
        What the workers' loaders have counted.
    """

    def __init__(self, brain: StampedeBrain) -> None:
        self.statistics = SimpleNamespace(**dict.fromkeys(COUNTED, 0.0))
        self._brain, self._due = brain, 0.0
        self._throughput = Throughput(self, str(brain.device))
        self._has_begun = False

    def __call__(self, counts: Mapping[str, float]) -> None:
        """Note the counts so far; the first call begins, since starting is no training."""
        number = int(counts["updates"])
        done = {"updates": number, "utterances": int(counts["utterances"])}
        if number < self._due:
            return
        every = self._brain.options.log_every
        self._due = (number // every + 1) * every
        self.statistics.audio_s, self.statistics.padded_s = counts["filled"], counts["padded"]
        self.statistics.wait_s = counts["wait_s"]
        if self._has_begun:
            self._brain.run_log.progress(self._throughput.lap(**done), number=number)
        else:
            self._throughput.start(**done)
        self._has_begun = True


def extent_of(loader: Any) -> Callable[[Any], tuple[float, float]] | None:
    """Return what gives the seconds of a batch without and with padding; None: it is no audio."""
    rate_hz = getattr(loader, "rate_hz", None)
    return None if rate_hz is None else partial(_seconds_of, rate_hz=rate_hz)


def _seconds_of(batch: Any, *, rate_hz: int) -> tuple[float, float]:
    return batch.seconds, batch.wavs.data.numel() / rate_hz


def fix_statistics(brain: StampedeBrain, batches: Any, *, num_batches: int) -> Statistics:
    """Compute the global statistics of a Brain's normalisers where they are unknown, and fix them.

    Arguments
    ---------
    brain : StampedeBrain
        Has recovered: statistics of a checkpoint are taken as they are.
    batches : Any
        Training data with ``fetch(number)`` and ``num_batches()``.
    num_batches : int
        Batches to compute them from, the first of the plan; 0: an error where they are unknown.

    Returns
    -------
    dict
        Statistics by module name, for :func:`take_statistics` in each process.

    Raises
    ------
    ValueError
        If there is a normaliser without statistics and ``num_batches`` is 0.
    """
    normalisers = dict(running_normalisers(brain))
    unknown = [name for name, module in normalisers.items() if module.count == 0]
    if unknown and not num_batches:
        raise ValueError(
            f"statistics_batches: is 0, but {', '.join(unknown)} normalises by running statistics, "
            "which every worker would keep for itself; expected the batches to compute them from "
            "before the start (such as 200), or norm_type: sentence."
        )
    if unknown:
        _run_forward(brain, batches, min(num_batches, batches.num_batches()))
    found = {name: module._statistics_dict() for name, module in normalisers.items()}
    take_statistics(brain, found)
    return found


def take_statistics(brain: StampedeBrain, statistics: Statistics) -> None:
    """Give a Brain's normalisers fixed statistics."""
    for name, module in running_normalisers(brain):
        module._load_statistics_dict(statistics[name])
        module.to(brain.device)
        module._should_update = _never


def running_normalisers(brain: StampedeBrain) -> Iterator[tuple[str, Any]]:
    """Yield names and modules that keep global statistics."""
    for name, module in brain.modules.named_modules():
        if isinstance(module, InputNormalization) and module.norm_type == "global":
            yield name, module


def _never(epoch: int | None) -> bool:
    del epoch
    return False


@torch.no_grad()
def _run_forward(brain: StampedeBrain, batches: Any, num_batches: int) -> None:
    buffers = [(buffer, buffer.clone()) for buffer in brain.modules.buffers()]
    brain.on_stage_start(Stage.TRAIN, 1)
    brain.modules.train()
    with torch.random.fork_rng():
        for number in range(num_batches):
            brain.compute_forward(batches.fetch(number), Stage.TRAIN)
    for buffer, before in buffers:
        buffer.copy_(before)


def worker_options(run_opts: RunOptions, worker: int, access: str) -> RunOptions:
    """Return a worker's run options: with parameters of its own it may have a GPU of its own."""
    num_devices = torch.cuda.device_count()
    if access != "pull_push" or not num_devices or str(run_opts.device or "cuda") != "cuda":
        return run_opts
    changed = {"device": f"cuda:{worker % num_devices}"}
    overridden = set(run_opts.overridden_args) | set(changed)
    return dataclasses.replace(run_opts, **changed, overridden_args=overridden)
