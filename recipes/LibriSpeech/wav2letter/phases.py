"""Training in phases: rates, clipping and the linear segmentation of each epoch.

All counts are epochs. wav2letter's recipes were written so; its later code reads the same numbers
as updates, which ends training after a few minutes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One command of the original recipe: `train`, or `continue` with other values.

    Arguments
    ---------
    num_epochs : int or None
        Length; None: to the end of training, for the last phase.
    lr : float
        Rate of the network, at first.
    lr_criterion : float
        Rate of the criterion (ASG's transitions, or the attention decoder), at first.
    max_grad_norm : float
        Bound of the joint gradient norm of network and criterion.
    linseg_epochs : int
        So many epochs at the start have the target stretched evenly over the frames.
    linseg_lr, linseg_lr_criterion : float or None
        Rates in these epochs; None: as after them.
    step_epochs : int or None
        Rates are multiplied by `gamma` after so many epochs of the phase, again and again.
    gamma : float
        See `step_epochs`.
    """

    lr: float
    lr_criterion: float
    max_grad_norm: float
    num_epochs: int | None = None
    linseg_epochs: int = 0
    linseg_lr: float | None = None
    linseg_lr_criterion: float | None = None
    step_epochs: int | None = None
    gamma: float = 1.0

    def faults(self) -> list[str]:
        """Return what is wrong with the values, one line a fault."""
        positive = (
            *("lr", "lr_criterion", "max_grad_norm", "gamma", "num_epochs", "step_epochs"),
            *("linseg_lr", "linseg_lr_criterion"),
        )
        values = {name: getattr(self, name) for name in (*positive, "linseg_epochs")}
        found = [
            f"{name} is {value!r}; expected a number"
            for name, value in values.items()
            if not isinstance(value, int | float | None)
        ]
        if found:
            return found
        found += [
            f"{name} is {values[name]}; expected > 0"
            for name in positive
            if values[name] is not None and not values[name] > 0
        ]
        if self.linseg_epochs < 0:
            found.append(f"linseg_epochs is {self.linseg_epochs}; expected >= 0")
        return found


@dataclass(frozen=True, slots=True)
class EpochPlan:
    """What holds in one epoch.

    Arguments
    ---------
    lr, lr_criterion : float, float
        Rates.
    max_grad_norm : float
        Bound of the gradient.
    is_linear : bool
        Whether targets are stretched evenly over the frames.
    """

    lr: float
    lr_criterion: float
    max_grad_norm: float
    is_linear: bool


class Phases:
    """The phases of a training, one after the other; each counts its own epochs.

    Arguments
    ---------
    phases : Sequence[Mapping[str, Any]]
        The arguments of each :class:`Phase`.

    Raises
    ------
    ValueError
        Names all faults.
    """

    def __init__(self, phases: Sequence[Mapping[str, Any]]) -> None:
        known = {field.name for field in fields(Phase)}
        needed = {"lr", "lr_criterion", "max_grad_norm"}
        faults = [] if phases else ["there is none; expected at least one"]
        self.phases: list[Phase] = []
        for number, given in enumerate(phases, 1):
            unknown, missing = sorted(given.keys() - known), sorted(needed - given.keys())
            if unknown or missing:
                faults.append(f"phase {number}: unknown keys {unknown}, missing keys {missing}")
                continue
            phase = Phase(**given)
            faults += [f"phase {number}: {fault}" for fault in phase.faults()]
            if phase.num_epochs is None and number < len(phases):
                faults.append(f"phase {number}: num_epochs is null; expected so in the last only")
            self.phases.append(phase)
        if faults:
            raise ValueError("phases: " + "; ".join(faults) + ".")

    def at(self, epoch: int) -> EpochPlan:
        """Return the plan of an epoch, counted from 1; the last phase never ends."""
        place = epoch - 1
        for phase in self.phases[:-1]:
            assert phase.num_epochs is not None
            if place < phase.num_epochs:
                return _plan(phase, place)
            place -= phase.num_epochs
        return _plan(self.phases[-1], place)


def _plan(phase: Phase, place: int) -> EpochPlan:
    factor = phase.gamma ** (place // phase.step_epochs) if phase.step_epochs else 1.0
    is_linear = place < phase.linseg_epochs
    lr = phase.linseg_lr if is_linear and phase.linseg_lr else phase.lr
    lr_criterion = phase.lr_criterion
    if is_linear and phase.linseg_lr_criterion:
        lr_criterion = phase.linseg_lr_criterion
    return EpochPlan(lr * factor, lr_criterion * factor, phase.max_grad_norm, is_linear)
