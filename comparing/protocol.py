"""How precisions are compared: units, warm-up, timed updates, what is asked of quality."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Protocol:
    """How arms are compared.

    Arguments
    ---------
    units : int
        Seeds; a verdict needs two or more, five or ten are better.
    warmup_steps : int
        Updates of each arm before the first that is timed; again a quarter of them at its second
        turn.
    timed_steps : int
        Updates of each arm that are timed, half of them in each turn.
    updates : int | None
        Applied updates after which quality is measured; None: as many as warm-up and timing take.
    num_batches : int
        Batches that are loaded, and gone through again and again.
    valid_batches : int | None
        Of the validation data; None: all.
    first_seed : int
        Seed of the first unit; the others follow.
    resolution : float
        Speeds that differ less are called equal, see `comparing.statistics.Ratio.verdict`.
    margin : float | None
        How much worse the validation metric may be to count as not worse; None: not asked.
    target : float | None
        Value of the validation metric; how many updates each arm takes to it. None: not asked.
    target_every : int
        Updates between two validations on the way to the target.

    Raises
    ------
    ValueError
        All that is out of range.
    """

    units: int = 5
    warmup_steps: int = 20
    timed_steps: int = 50
    updates: int | None = None
    num_batches: int = 50
    valid_batches: int | None = None
    first_seed: int = 0
    resolution: float = 0.01
    margin: float | None = None
    target: float | None = None
    target_every: int = 20

    def __post_init__(self) -> None:
        least = {"units": 1, "warmup_steps": 1, "timed_steps": 2, "num_batches": 1, "first_seed": 0}
        least |= {"target_every": 1}
        faults = [
            f"{name} is {getattr(self, name)}; expected >= {low}"
            for name, low in least.items()
            if getattr(self, name) < low
        ]
        if self.updates is not None and self.updates < self.attempts:
            faults.append(
                f"updates is {self.updates}; expected >= {self.attempts}, which warm-up and timing "
                "take"
            )
        if self.valid_batches is not None and self.valid_batches < 1:
            faults.append(f"valid_batches is {self.valid_batches}; expected >= 1")
        if self.resolution < 0 or (self.margin is not None and self.margin <= 0):
            faults.append("resolution must be >= 0 and margin > 0")
        if faults:
            raise ValueError("comparison of precisions: " + "; ".join(faults) + ".")

    @property
    def turns(self) -> tuple[int, int]:
        """Timed updates in the first and in the second turn."""
        return self.timed_steps - self.timed_steps // 2, self.timed_steps // 2

    @property
    def warmups(self) -> tuple[int, int]:
        """Updates before each, one of them (the first of all) weighed."""
        return self.warmup_steps, math.ceil(self.warmup_steps / 4)

    @property
    def attempts(self) -> int:
        """Updates of warm-up and timing."""
        return sum(self.turns) + sum(self.warmups)
