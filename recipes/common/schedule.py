"""Learning-rate schedules: one adapter for schedules per update, one for schedules per validation.

Both take SpeechBrain's schedulers as they are. Their state is saved with the checkpoint when
SpeechBrain knows how; a function of the update number needs none.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from torch.optim import Optimizer

UPDATE_FORMS = {
    ("opt",): "optimizer",
    ("opt", "num_updates"): "optimizer and number",
}
VALID_FORMS = {
    ("metric_value",): "metric",
    ("current_epoch",): "epoch",
    ("epoch",): "epoch",
    ("optim_list", "current_epoch", "current_loss"): "plateau",
}


def inverse_square_root(update: int, *, peak: float, num_warmup: int) -> float:
    """Return a rate that rises linearly from 0 to ``peak``, then falls with 1/sqrt(update).

    Vaswani et al. 2017, "Attention is all you need", section 5.3, with the peak named.

    Arguments
    ---------
    update : int
        Updates applied before this one; the first update (0) has rate 0.
    peak : float
        Rate after ``num_warmup`` updates.
    num_warmup : int
        Updates of the rise; > 0.

    Returns
    -------
    float
        Learning rate of the update.
    """
    if update < num_warmup:
        return peak * update / num_warmup
    return float(peak * (num_warmup / update) ** 0.5)


def inverse_time(update: int, *, initial: float, decay: float) -> float:
    """Return ``initial / (1 + decay * update)``, the rate of Keras 2 optimizers with ``decay``.

    Arguments
    ---------
    update : int
        Updates applied before this one.
    initial : float
        Rate of the first update.
    decay : float
        How fast it falls; >= 0.

    Returns
    -------
    float
        Learning rate of the update.
    """
    return initial / (1.0 + decay * update)


def warmup_hold_decay(
    update: int,
    *,
    peak: float,
    num_warmup: int,
    num_hold: int,
    num_decay: int,
    final_share: float = 0.0,
) -> float:
    """Return a rate that rises linearly to ``peak``, stays, falls linearly, and stays low.

    Arguments
    ---------
    update : int
        Updates applied before this one.
    peak : float
        Highest rate.
    num_warmup : int
        Updates of the rise.
    num_hold : int
        Updates of the plateau.
    num_decay : int
        Updates of the fall.
    final_share : float
        Share of ``peak`` after the fall.

    Returns
    -------
    float
        Learning rate of the update; the first is ``peak / (num_warmup + 1)``.
    """
    if update < num_warmup:
        return peak * (update + 1) / (num_warmup + 1)
    fallen = update - num_warmup - num_hold
    if fallen <= 0:
        return peak
    return peak * max(final_share, 1.0 - (1.0 - final_share) * fallen / max(num_decay, 1))


class UpdateSchedule:
    """Sets the learning rates right before each applied update.

    Arguments
    ---------
    schedule : Callable[..., Any]
        A function ``update -> rate`` (``update`` counts the updates applied before, from 0), or a
        SpeechBrain scheduler called with the optimizer (NoamScheduler) or with the optimizer and
        the number of this update, from 1 (TriStageLRSchedule, WarmCoolDecayLRSchedule).
        The rate goes to every group of every optimizer, times the group's ``rate_scale`` if set.

    Raises
    ------
    ValueError
        If the callable takes other arguments.
    """

    def __init__(self, schedule: Callable[..., Any]) -> None:
        self.schedule = schedule
        names = required_arguments(schedule)
        if len(names) == 1 and names[0] not in ("opt", "metric_value", "current_epoch"):
            self._form = "number"
        elif names in UPDATE_FORMS:
            self._form = UPDATE_FORMS[names]
        else:
            raise ValueError(
                f"update_schedule: {schedule!r} needs the arguments {list(names)}; expected "
                "(update), (opt) or (opt, num_updates); use valid_schedule for schedules by epoch "
                "or metric."
            )

    def set_rates(self, optimizers: Sequence[Optimizer], *, update: int) -> None:
        """Set the rates for the update after ``update`` applied ones."""
        if self._form == "number":
            rate = float(self.schedule(update))
        else:
            number = (update + 1,) if self._form == "optimizer and number" else ()
            if not number and hasattr(self.schedule, "n_steps"):
                # NoamScheduler counts its own calls; several processes share one count.
                self.schedule.n_steps = update
            self.schedule(optimizers[0], *number)
            rate = optimizers[0].param_groups[0]["lr"]
        _set_rate(optimizers, rate)


class ValidSchedule:
    """Sets the learning rates after each validation.

    Arguments
    ---------
    schedule : Callable[..., Any]
        A SpeechBrain scheduler by metric (NewBobScheduler), by epoch (LinearScheduler,
        StepScheduler) or both (ReduceLROnPlateau); it returns (old rate, new rate).

    Raises
    ------
    ValueError
        If the callable takes other arguments.
    """

    def __init__(self, schedule: Callable[..., Any]) -> None:
        self.schedule = schedule
        names = required_arguments(schedule)
        if names not in VALID_FORMS:
            raise ValueError(
                f"valid_schedule: {schedule!r} needs the arguments {list(names)}; expected one of "
                f"{[list(form) for form in VALID_FORMS]}; or use update_schedule."
            )
        self._form = VALID_FORMS[names]

    def set_rates(self, optimizers: Sequence[Optimizer], *, epoch: int, metric: float) -> None:
        """Set the rates after the validation of ``epoch`` gave ``metric``."""
        arguments: dict[str, tuple[Any, ...]] = {
            "metric": (metric,),
            "epoch": (epoch,),
            "plateau": (list(optimizers), epoch, metric),
        }
        _, rate = self.schedule(*arguments[self._form])
        _set_rate(optimizers, rate)


def required_arguments(schedule: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of the positional arguments that a call must give."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return tuple(
        parameter.name
        for parameter in inspect.signature(schedule).parameters.values()
        if parameter.kind in kinds and parameter.default is inspect.Parameter.empty
    )


def _set_rate(optimizers: Sequence[Optimizer], rate: float) -> None:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate * group.get("rate_scale", 1.0)
