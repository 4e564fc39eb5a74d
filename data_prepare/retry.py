"""Try again what may work next time: bounded, with growing and random waits, and counted."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RetryOptions:
    """Bounds of retrying a request.

    Arguments
    ---------
    max_tries : int
        Tries of a request in all.
    first_wait_s : float
        Longest wait before the second try; it doubles each time. The waits are random.
    max_wait_s : float
        Bound of a wait.
    max_total_s : float
        Time from the first try after which no other is made.
    timeout_s : float
        Time without any answer or data after which a try has failed.

    Raises
    ------
    ValueError
        If a value is out of range.
    """

    max_tries: int = 8
    first_wait_s: float = 0.5
    max_wait_s: float = 30.0
    max_total_s: float = 600.0
    timeout_s: float = 60.0

    def __post_init__(self) -> None:
        faults = []
        if self.max_tries < 1:
            faults.append(f"max_tries is {self.max_tries}; expected >= 1")
        faults += [
            f"{name} is {getattr(self, name)}; expected >= 0"
            for name in ("first_wait_s", "max_wait_s", "max_total_s")
            if getattr(self, name) < 0
        ]
        if self.timeout_s <= 0:
            faults.append(f"timeout_s is {self.timeout_s}; expected > 0")
        if faults:
            raise ValueError("retry: " + "; ".join(faults) + ".")
