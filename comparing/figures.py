"""Which figures are the better the lower they are, and which the higher: known in one place."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

LOWER = frozenset(
    {
        *("loss", "ctc_loss", "wer", "wer_p", "cer_p", "perplexity", "bce"),
        *("false_alarms_per_hour", "latency_ms", "target_s", "total_s"),
    }
)
HIGHER = frozenset(
    {
        *("bleu", "chrf", "exact", "average_precision", "bce_gain"),
        *("event_recall", "event_precision", "event_f1"),
        *("frame_recall", "frame_precision", "frame_f1", "utterances_per_s", "updates_per_s"),
    }
)
"""Names of figures; one of a category, such as "wer native", goes as its first word does."""


def fault_of(names: Iterable[str]) -> str | None:
    """Return what is wrong with names of figures: of which ones nobody knows the better side."""
    unknown = [name for name in names if _kind(name) not in LOWER | HIGHER]
    if not unknown:
        return None
    return (
        f"{unknown} are not known to be better lower or higher; expected some of "
        f"{sorted(LOWER | HIGHER)}; others are to be added in comparing/figures.py"
    )


def is_higher_better(name: str) -> bool:
    """Say whether more of a figure is better.

    Arguments
    ---------
    name : str
        Of the figure.

    Returns
    -------
    bool
        False: less is.

    Raises
    ------
    ValueError
        If nobody knows.
    """
    fault = fault_of([name])
    if fault:
        raise ValueError(f"figures: {fault}.")
    return _kind(name) in HIGHER


def is_reached(name: str, value: float, target: float) -> bool:
    """Say whether a figure is as good as a target; NaN is not. `is_higher_better` raises."""
    return value >= target if is_higher_better(name) else value <= target


def best_so_far(name: str, values: Sequence[float]) -> list[float]:
    """Return the best of a figure's values up to each of them; `is_higher_better` raises."""
    return list(itertools.accumulate(values, max if is_higher_better(name) else min))


def _kind(name: str) -> str:
    return name.split(" ")[0]
