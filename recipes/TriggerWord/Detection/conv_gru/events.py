"""When a detector fires, and how that fits the triggers that were spoken."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
SWEEP = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_EPS = 1e-7


@dataclass(frozen=True)
class EventRules:
    """What counts as an event, in output steps.

    Arguments
    ---------
    threshold : float
        The detector fires at the first step with a probability above it.
    refractory : int
        It does not fire again before more than so many steps have passed.
    width : int
        Steps with label 1 after a trigger's end.
    tolerance : int
        Steps after those in which a firing still belongs to the trigger.
    early : int
        Steps before a trigger's end, and this one, in which a firing belongs to it, too.
    """

    threshold: float
    refractory: int
    width: int
    tolerance: int
    early: int = 0


@dataclass(frozen=True)
class EventCounts:
    """Counts of firings and triggers; they add up over clips.

    Arguments
    ---------
    num_triggers : int
        Triggers that could be found.
    num_firings : int
        Events of the detector.
    delays_s : tuple of float
        Of each firing that found a trigger: time after its end, below 0 before it.
    seconds : float
        Audio.
    num_cut : int
        Triggers that end with the clip: nothing of them is left to find.
    """

    num_triggers: int = 0
    num_firings: int = 0
    delays_s: tuple[float, ...] = ()
    seconds: float = 0.0
    num_cut: int = 0

    def __add__(self, other: EventCounts) -> EventCounts:
        return EventCounts(
            self.num_triggers + other.num_triggers,
            self.num_firings + other.num_firings,
            self.delays_s + other.delays_s,
            self.seconds + other.seconds,
            self.num_cut + other.num_cut,
        )

    def figures(self) -> dict[str, Any]:
        """Return recall, precision and F1 in percent, false alarms an hour, median latency in ms.

        What has no denominator is None.
        """
        hits = len(self.delays_s)
        false_alarms = self.num_firings - hits
        total = self.num_triggers + self.num_firings
        return {
            "event_recall": _percent(hits, self.num_triggers),
            "event_precision": _percent(hits, self.num_firings),
            "event_f1": _percent(2 * hits, total),
            "false_alarms_per_hour": (
                false_alarms * 3600.0 / self.seconds if self.seconds else None
            ),
            "latency_ms": float(np.median(self.delays_s)) * 1000.0 if hits else None,
            "triggers": self.num_triggers,
            "triggers_cut": self.num_cut,
        }


def _percent(part: int, whole: int) -> float | None:
    return 100.0 * part / whole if whole else None


def find_events(probs: Floats, *, threshold: float, refractory: int) -> list[int]:
    """Return the steps at which the detector fires.

    Arguments
    ---------
    probs : Floats
        [T'] probabilities.
    threshold : float
        Above it.
    refractory : int
        A firing at t is followed by the next one at t + refractory + 1 or later.

    Returns
    -------
    list of int
        Ascending.
    """
    events: list[int] = []
    for step in np.flatnonzero(probs > threshold).tolist():
        if not events or step - events[-1] > refractory:
            events.append(step)
    return events


def match_events(
    events: Sequence[int], ends: Sequence[int], *, reach: int, early: int = 0
) -> list[tuple[int, int]]:
    """Pair firings with triggers, each at most once, in the order of time.

    A firing at t belongs to the first trigger without one whose end E fulfils
    E - early < t <= E + reach.

    Arguments
    ---------
    events : Sequence[int]
        Steps of firings, ascending.
    ends : Sequence[int]
        Steps in which triggers end.
    reach : int
        Label width plus tolerance.
    early : int
        Steps before the end, and this one, that count as well.

    Returns
    -------
    list of (int, int)
        Firing and end of each pair.
    """
    waiting, pairs = sorted(ends), []
    for event in events:
        found = next((end for end in waiting if end - early < event <= end + reach), None)
        if found is not None:
            waiting.remove(found)
            pairs.append((event, found))
    return pairs


def count_events(
    probs: Floats, ends: Sequence[int], rules: EventRules, *, duration_s: float
) -> EventCounts:
    """Return the counts of one clip.

    Arguments
    ---------
    probs : Floats
        [T'] probabilities.
    ends : Sequence[int]
        Step of each trigger's end; one in the last step can not be found and is counted apart.
    rules : EventRules
        Thresholds and times.
    duration_s : float
        Of the clip.

    Returns
    -------
    EventCounts
        To be added up.
    """
    seen = [end for end in ends if end + 1 < len(probs)]
    events = find_events(probs, threshold=rules.threshold, refractory=rules.refractory)
    reach = rules.width + rules.tolerance
    pairs = match_events(events, seen, reach=reach, early=rules.early)
    step_s = duration_s / len(probs) if len(probs) else 0.0
    delays_s = tuple((event - end) * step_s for event, end in pairs)
    return EventCounts(len(seen), len(events), delays_s, duration_s, len(ends) - len(seen))


def frame_figures(probs: Floats, labels: Floats, *, threshold: float) -> dict[str, Any]:
    """Return how well steps are told apart; what has no denominator is None.

    Arguments
    ---------
    probs : Floats
        [N] probabilities of all steps of all clips.
    labels : Floats
        [N] of 0 and 1.
    threshold : float
        Above it a step counts as positive.

    Returns
    -------
    dict
        `bce`; `bce_prior`, the cross-entropy of always answering with the share of positive steps,
        without which `bce` says nothing; `bce_gain`, how much better; `prior`; precision, recall
        and F1 of steps and `average_precision`, in percent.
    """
    kept = np.clip(probs.astype(np.float64), _EPS, 1.0 - _EPS)
    bce = float(-np.mean(labels * np.log(kept) + (1.0 - labels) * np.log1p(-kept)))
    prior = float(np.mean(labels, dtype=np.float64))
    fired = probs > threshold
    hits = int(np.count_nonzero(fired & (labels > 0.5)))
    positive, num_fired = int(np.count_nonzero(labels > 0.5)), int(np.count_nonzero(fired))
    return {
        "bce": bce,
        "bce_prior": prior_bce(prior),
        "bce_gain": prior_bce(prior) - bce,
        "prior": prior,
        "frame_precision": _percent(hits, num_fired),
        "frame_recall": _percent(hits, positive),
        "frame_f1": _percent(2 * hits, num_fired + positive),
        "average_precision": average_precision(probs, labels),
    }


def prior_bce(prior: float) -> float:
    """Return -p ln p - (1 - p) ln(1 - p), the cross-entropy of a constant answer p."""
    if not 0.0 < prior < 1.0:
        return 0.0
    return -prior * math.log(prior) - (1.0 - prior) * math.log1p(-prior)


def average_precision(probs: Floats, labels: Floats) -> float | None:
    """Return the sum over thresholds of (recall gained) * precision, in percent.

    Steps of equal probability pass a threshold together. None without positive steps.
    """
    positive = float(np.sum(labels, dtype=np.float64))
    if not positive:
        return None
    order = np.argsort(-probs, kind="stable")
    hits = np.cumsum(labels[order], dtype=np.float64)
    last_of_value = np.append(np.flatnonzero(np.diff(probs[order])), len(order) - 1)
    hits, seen = hits[last_of_value], last_of_value + 1.0
    gained = np.diff(hits, prepend=0.0) / positive
    return 100.0 * float(np.sum(gained * hits / seen))
