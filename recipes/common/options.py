"""The YAML keys that the common Brain reads, with types and defaults in one place."""

from __future__ import annotations

import math
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from recipes.common.early_stopping import EarlyStopping, Mode
from recipes.common.value_types import fault_of_value

LEAST = {
    "max_updates": 1,
    "max_seconds": 0,
    "distributed_timeout_s": 1,
    "straggler": 0,
    "straggler_share": 0,
    "log_every": 1,
    "seed": 0,
    "num_to_keep": 1,
    "average_best_of": 1,
}
"""Smallest values of the options that are numbers."""


@dataclass(frozen=True)
class BrainOptions:
    """Options of :class:`recipes.common.brain.StampedeBrain`, each a top-level YAML key.

    Arguments
    ---------
    max_updates : int or None
        Training ends after exactly this many applied updates, counted over restarts; None: no
        limit. SpeechBrain's ``optimizer_step_limit`` is the same and may be given instead.
    max_seconds : float or None
        Training ends after so many seconds of training and validation, counted over restarts by
        the run's clock; None: no limit.
    distributed_timeout_s : float
        A rank that does not take part in an exchange for so long is lost, and the run ends (under
        torchrun with ``--max_restarts`` it begins again from its checkpoint); > 0.
    straggler : int or None
        Number of the process (rank, or Hogwild worker) that is slow on purpose; None: none.
    straggler_share : float
        Part of the time that it sleeps, within [0, 1).
    allow_tf32 : bool or None
        Whether products and convolutions of float32 may be computed in TF32, by GPUs that have it;
        None: as it was left (SpeechBrain allows it when it is imported).
    log_every : int
        Updates between two lines of the text log and changes of the progress bar.
    seed : int or None
        Ranks are re-seeded with ``seed + rank`` when training starts; None: left alone.
    update_schedule : callable or None
        See :class:`recipes.common.schedule.UpdateSchedule`.
    valid_schedule : callable or None
        See :class:`recipes.common.schedule.ValidSchedule`.
    early_stopping : EarlyStopping or None
        See :class:`recipes.common.early_stopping.EarlyStopping`.
    valid_metric : str
        Validation statistic that chooses the best checkpoint and drives ``valid_schedule``.
    valid_mode : str
        "min" if a lower ``valid_metric`` is better, "max" if a higher one is.
    target_value : float or None
        ``valid_metric`` to reach; the clock notes when.
    num_to_keep : int
        Best checkpoints kept (besides the newest ones, as many).
    average_best_of : int
        Best checkpoints whose parameters are averaged for evaluation; 1: the best alone.
    average_by : str
        Which these are: "value": the best by ``valid_metric``; "time": the best one and its
        neighbours, as many before as after it. They are kept, besides the others.
    """

    max_updates: int | None = None
    max_seconds: float | None = None
    distributed_timeout_s: float = 1800.0
    straggler: int | None = None
    straggler_share: float = 0.5
    allow_tf32: bool | None = None
    log_every: int = 50
    seed: int | None = None
    update_schedule: Callable[..., Any] | None = None
    valid_schedule: Callable[..., Any] | None = None
    early_stopping: EarlyStopping | None = None
    valid_metric: str = "loss"
    valid_mode: Mode = "min"
    target_value: float | None = None
    num_to_keep: int = 1
    average_best_of: int = 1
    average_by: Literal["value", "time"] = "value"

    @classmethod
    def from_hparams(cls, hparams: Mapping[str, Any] | None) -> BrainOptions:
        """Take the options out of a YAML's keys.

        Arguments
        ---------
        hparams : Mapping[str, Any] | None
            All keys of the YAML.

        Returns
        -------
        BrainOptions
            The options; defaults for keys that are absent.

        Raises
        ------
        ValueError
            If values have a wrong type or range; all faults at once.
        """
        given = hparams or {}
        faults = cls.plain_faults(given)
        if faults:
            raise ValueError("options of the Brain:\n" + "\n".join(f"- {f}" for f in faults))
        names = [field.name for field in fields(cls)]
        return cls(**{name: given[name] for name in names if name in given})

    @classmethod
    def plain_faults(cls, given: Mapping[str, Any]) -> list[str]:
        """Return what is wrong with those options that are numbers or words."""
        hints = typing.get_type_hints(cls)
        names = [field.name for field in fields(cls) if field.name in given]
        found = {name: fault_of_value(given[name], hints[name]) for name in names}
        faults = [f"{name}: {fault}" for name, fault in found.items() if fault]
        if faults:
            return faults
        for name, least in LEAST.items():
            if given.get(name) is not None and given[name] < least:
                faults.append(f"{name}: is {given[name]}; expected >= {least}.")
        if given.get("straggler_share", 0) >= 1:
            faults.append(f"straggler_share: is {given['straggler_share']}; expected < 1.")
        num_to_keep = given.get("num_to_keep", cls.num_to_keep)
        if given.get("average_best_of", 1) > num_to_keep:
            faults.append(
                f"average_best_of: is {given['average_best_of']}, more than num_to_keep "
                f"{num_to_keep}; expected no more; raise num_to_keep."
            )
        return faults


def check_figures(options: BrainOptions, figures: Sequence[str]) -> None:
    """Refuse metrics that the recipe's validation does not compute, before anything is trained.

    Arguments
    ---------
    options : BrainOptions
        Names the metrics.
    figures : Sequence[str]
        Names of the validation's figures; none given: not checked.

    Raises
    ------
    ValueError
        If a metric is not among them.
    """
    wanted = {"valid_metric": options.valid_metric}
    if options.early_stopping is not None and options.early_stopping.metric != "train_loss":
        wanted["early_stopping"] = options.early_stopping.metric
    for key, metric in wanted.items():
        if figures and metric not in figures:
            raise ValueError(
                f"{key}: {metric!r} is no figure of this recipe's validation; expected one of "
                f"{list(figures)}."
            )


def norm_limit(max_grad_norm: float | None) -> float:
    """Return the clipping bound; infinity for null.

    SpeechBrain documents a negative bound as "off", but it reverses every gradient, and zero
    freezes the weights.

    Arguments
    ---------
    max_grad_norm : float | None
        SpeechBrain's option; None: gradients are not clipped.

    Returns
    -------
    float
        > 0.

    Raises
    ------
    ValueError
        If the bound is not positive.
    """
    if max_grad_norm is None:
        return math.inf
    if not isinstance(max_grad_norm, int | float) or not max_grad_norm > 0:
        raise ValueError(
            f"max_grad_norm: is {max_grad_norm!r}; expected a number > 0; write null to disable."
        )
    return float(max_grad_norm)


def update_limit(max_updates: int | None, optimizer_step_limit: Any) -> int | None:
    """Return the limit in updates from our key and SpeechBrain's option of the same meaning.

    Arguments
    ---------
    max_updates : int | None
        Our key.
    optimizer_step_limit : Any
        SpeechBrain's.

    Returns
    -------
    int or None
        The limit; None: none.

    Raises
    ------
    ValueError
        If SpeechBrain's is no positive int (its command line gives a string), or both differ.
    """
    if optimizer_step_limit is None:
        return max_updates
    limit = optimizer_step_limit
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise ValueError(f"optimizer_step_limit: is {limit!r}; expected an int >= 1.")
    if max_updates not in (None, limit):
        raise ValueError(
            f"max_updates: is {max_updates}, but optimizer_step_limit {limit}; expected one."
        )
    return limit
