"""Utterances that asynchronous workers have to leave out: told to the parent, which adds them up.

A worker sees a part of a pass, so that none of them knows whether the run has met too many.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from data_prepare.accounting import FaultBudget


@dataclass(frozen=True)
class LeftOut:
    """What a worker tells of a batch that misses utterances.

    Arguments
    ---------
    faults : list[Any]
        `data_prepare.reading.Fault`, one an utterance.
    position : Any
        The batch's.
    ends_epoch : bool
        Never known here: the parent ends epochs.
    """

    faults: list[Any]
    position: Any
    ends_epoch: bool = False


def left_out(batch: Any) -> LeftOut | None:
    """Return what is to be told of a batch; None: nothing was left out, or it is no audio."""
    faults = getattr(batch, "faults", [])
    return LeftOut(faults, batch.position) if faults else None


def unchecked(loader: Any) -> Any:
    """Return a loader's data as a worker reads them: the parent decides what is too bad."""
    read = getattr(loader, "read", loader.fetch)  # batches of text have no faults
    return SimpleNamespace(fetch=read, num_batches=loader.num_batches)


class WorkerFaults:
    """Counts what all workers left out, and stops a run that meets too much, as a loader does.

    Arguments
    ---------
    loader : Any
        The training data: their `max_bad_share` holds for the pass of all workers of this node.

    Attributes
    ----------
    by_kind : Counter[str]
        Utterances left out since this process began.
    """

    def __init__(self, loader: Any) -> None:
        self.by_kind: Counter[str] = Counter()
        self._loader = loader
        self._seen: set[tuple[int, int]] = set()
        self._budgets: dict[tuple[str, int], FaultBudget] = {}
        self._lock = threading.Lock()  # workers are heard in a thread of its own

    def __call__(self, item: Any, told: LeftOut) -> None:
        """Count a batch once, also if it was given out again.

        Arguments
        ---------
        item : Any
            Says which batch: `pass_number` and `number`.
        told : LeftOut
            What the worker said of it.

        Raises
        ------
        ValueError
            If the pass has had too many.
        """
        batch = item.pass_number, item.number
        with self._lock:
            if batch in self._seen:
                return
            self._seen.add(batch)
            self.by_kind.update(fault.kind for fault in told.faults)
            self._spend(told)

    def _spend(self, told: Any) -> None:
        part = self._loader.part_of(told)
        # Passes overlap where workers are ahead, so each has a budget of its own.
        key = part.fault_budget.where, told.position.pass_number
        budget = self._budgets.setdefault(key, part.fault_budget.anew())
        budget.spend(told, num_utterances=part.rank_utterances)

    def end_epoch(self) -> dict[str, int]:
        """Log what was left out in the epoch; return the sums so far, by kind."""
        with self._lock:
            for budget in self._budgets.values():
                budget.end_epoch()
            return dict(self.by_kind)
