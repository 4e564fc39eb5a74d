"""Scores of a test set: frames and events, merged over ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np

from recipes.common.scoring import merged
from recipes.TriggerWord.Detection.conv_gru.events import (
    SWEEP,
    EventCounts,
    EventRules,
    Floats,
    count_events,
    find_events,
    frame_figures,
)


@dataclass(frozen=True)
class Scored:
    """One clip: what the detector said at each step, and what was to be found.

    Arguments
    ---------
    id : str
        Name of the clip.
    probs, labels : Floats
        [T'] probabilities, and labels of 0 and 1.
    ends : tuple of int
        Step in which each trigger ends.
    rules : EventRules
        What counts as an event.
    duration_s : float
        Of the clip.
    """

    id: str
    probs: Floats
    labels: Floats
    ends: tuple[int, ...]
    rules: EventRules
    duration_s: float

    def counts(self, threshold: float | None = None) -> EventCounts:
        """Return the counts of events, at another threshold if one is given."""
        rules = self.rules if threshold is None else replace(self.rules, threshold=threshold)
        return count_events(self.probs, self.ends, rules, duration_s=self.duration_s)


@dataclass
class DetectionScores:
    """Collects clips and turns them into figures.

    Attributes
    ----------
    items : list of Scored
        What was added so far.
    """

    items: list[Scored] = field(default_factory=list)

    def merge(self, parts: Sequence[DetectionScores]) -> None:
        """Replace the items by those of all parts (one a rank), sorted by id.

        Arguments
        ---------
        parts : Sequence[DetectionScores]
            The scores of all ranks, this one's among them.

        Raises
        ------
        ValueError
            If a clip stands in two parts.
        """
        self.items = merged((part.items for part in parts), verb="scored")

    def summarise(self) -> dict[str, Any]:
        """Return the figures of `frame_figures` and `EventCounts.figures`, and of a sweep.

        `utterances`: clips; `hours`: audio; `thresholds`: threshold to recall and false alarms.
        """
        if not self.items:
            return {"utterances": 0, "hours": 0.0}
        threshold = self.items[0].rules.threshold
        counts = reduce(add, (item.counts() for item in self.items))
        return {
            "utterances": len(self.items),
            "hours": counts.seconds / 3600.0,
            **frame_figures(
                np.concatenate([item.probs for item in self.items]),
                np.concatenate([item.labels for item in self.items]),
                threshold=threshold,
            ),
            **counts.figures(),
            "thresholds": {str(value): self._at(value) for value in SWEEP},
        }

    def _at(self, threshold: float) -> dict[str, Any]:
        figures = reduce(add, (item.counts(threshold) for item in self.items)).figures()
        return {name: figures[name] for name in ("event_recall", "false_alarms_per_hour")}

    def write_events(self, path: Path) -> None:
        """Write a line a clip: its triggers and the firings, in ms; worst clips first."""
        rows = []
        for item in self.items:
            counts, rules = item.counts(), item.rules
            events = find_events(item.probs, threshold=rules.threshold, refractory=rules.refractory)
            misses = counts.num_triggers - len(counts.delays_s)
            errors = misses + counts.num_firings - len(counts.delays_s)
            step_ms = 1000.0 * item.duration_s / max(1, len(item.probs))
            times = [[round(step * step_ms) for step in steps] for steps in (item.ends, events)]
            rows.append((-errors, item.id, f"triggers {times[0]}, fired {times[1]}"))
        lines = [f"{id_}  {-errors} errors  {told}\n" for errors, id_, told in sorted(rows)]
        temporary = path.with_name(path.name + ".tmp")
        temporary.write_text("".join(lines), encoding="utf-8")
        temporary.replace(path)
