"""What to compare, as the YAML says it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from comparing.figures import fault_of
from comparing.ways import ways_of

Options = Mapping[str, Any]


@dataclass(frozen=True)
class Comparison:
    """Ways of training, budgets, variants and seeds; every combination is trained once.

    Arguments
    ---------
    run_file : str
        YAML of train.py.
    hogwild_file : str
        YAML of train_hogwild.py, of the same model and data.
    ways : Sequence[str]
        Names of :func:`comparing.ways.ways_of`; the first is what the others are compared with.
    processes : int
        Ranks, workers, micro-batches; > 1.
    seeds : Sequence[int]
        Each is a repeat; they choose first weights and the order of the data.
    budgets : Mapping[str, Options]
        Name -> options that bound a run: the same epochs for all, or the same `max_seconds`.
    variants : Mapping[str, Options]
        Name -> options that all ways get: a plain run, a straggler, sizes of the corpus. The key
        `budgets` is no option: names of the budgets that the variant has; without it, all.
    options : Options
        Of all runs.
    way_options : Mapping[str, Options]
        Way -> options of its own; stated in the report.
    batch : float
        Batch of one process, in the unit of `batch_key`; it replaces that of the run file.
    batch_key : str
        Option that bounds a batch; each way sets it, so that it is none of the other options.
    schedule : Mapping[str, int]
        Options that are counted in updates, with their values for one process, all that the run
        file has: an update that holds p times the data makes them p times fewer.
    updates : Mapping[str, float]
        Way -> its updates per utterance, relative to one process, where they are not those of
        :func:`comparing.ways.ways_of`: a p-th of the batch has less room for long utterances, and
        makes more than p times the updates. The report warns where a way made others.
    rates : Sequence[float]
        Learning rates; with several, each way takes the one that is best on validation data.
    rate_key : str
        Option of the learning rate.
    tuning_seed : int
        Seed of the runs that choose the rate; none of `seeds`.
    metrics : Sequence[str]
        Figures of the test, in the order of columns.
    valid_metric : str
        Figure of validation that curves show and that chooses rates. Of this one and the `metrics`
        :mod:`comparing.figures` knows whether lower or higher is better.
    target : float | None
        Value of `valid_metric`; the seconds of training and validation until a validation showed it
        are reported. None: the `target_value` of the run file. It changes no run: those that have
        ended may be reported with another one.

    Raises
    ------
    ValueError
        All that is wrong.
    """

    run_file: str
    hogwild_file: str
    ways: Sequence[str] = ("one", "accumulation", "small_batch", "ddp", "hogwild")
    processes: int = 2
    seeds: Sequence[int] = (0, 1, 2)
    budgets: Mapping[str, Options] = field(default_factory=lambda: {"utterances": {}})
    variants: Mapping[str, Options] = field(default_factory=lambda: {"plain": {}})
    options: Options = field(default_factory=dict)
    way_options: Mapping[str, Options] = field(default_factory=dict)
    batch: float = 20.0
    batch_key: str = "max_batch_s"
    schedule: Mapping[str, int] = field(default_factory=dict)
    updates: Mapping[str, float] = field(default_factory=dict)
    rates: Sequence[float] = ()
    rate_key: str = "lr"
    tuning_seed: int = 1000
    metrics: Sequence[str] = ("wer", "wer_p", "cer_p")
    valid_metric: str = "wer"
    target: float | None = None

    def __post_init__(self) -> None:
        known = ways_of(max(self.processes, 2))
        faults = [
            f"ways: {name!r} is not known; expected some of {[*known]}"
            for name in self.ways
            if name not in known
        ]
        faults += [
            f"way_options: {name!r} is none of the ways {[*self.ways]}"
            for name in self.way_options
            if name not in self.ways
        ]
        faults += [
            f"updates: {name!r} has {number!r}; expected some of {[*known]}, with numbers > 0"
            for name, number in self.updates.items()
            if name not in known or not _is_positive(number)
        ]
        if self.processes < 2:
            faults.append(f"processes: is {self.processes}; expected > 1")
        for name in ("ways", "seeds", "budgets", "variants", "metrics"):
            given = list(getattr(self, name))
            if not given or len(set(given)) != len(given):
                faults.append(f"{name}: is {given}; expected at least one, each once")
        fault = fault_of((*self.metrics, self.valid_metric))
        if fault:
            faults.append(f"metrics, valid_metric: {fault}")
        faults += self._option_faults()
        if self.tuning_seed in self.seeds:
            faults.append(f"tuning_seed: is {self.tuning_seed}, one of the seeds; expected another")
        if faults:
            raise ValueError("comparison: " + "; ".join(faults) + ".")

    def _option_faults(self) -> list[str]:
        faults = []
        for name in self.variants:
            unknown = set(self.budgets_of(name)) - set(self.budgets)
            if unknown:
                faults.append(
                    f"variants: {name} has budgets {sorted(unknown)}; expected some of "
                    f"{[*self.budgets]}"
                )
        groups = (self.options, *self.budgets.values(), *self.variants.values())
        faults += [
            f"batch_key: {self.batch_key} is {own[self.batch_key]} in an option, budget or "
            "variant, which would give all ways the same; expected it as `batch`"
            for own in groups
            if self.batch_key in own
        ]
        return faults

    def updates_of(self, way: str) -> float:
        """Return the updates per utterance, relative to one process, of a way's schedule."""
        return self.updates.get(way, ways_of(self.processes)[way].updates)

    def budgets_of(self, variant: str) -> list[str]:
        """Return the names of the budgets that a variant is trained with."""
        return list(self.variants[variant].get("budgets", self.budgets))


def _is_positive(number: Any) -> bool:
    return isinstance(number, int | float) and number is not True and 0 < number < math.inf
