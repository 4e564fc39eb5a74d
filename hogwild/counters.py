"""Shared counts of what the workers did: each row is written by one process only, so no lock.

A count that several processes add to loses some of the additions; a sum of rows does not.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

from hogwild.memory import SharedArray

UPDATES, ITEMS, UTTERANCES, STALENESS, SKIPPED, BATCHES, COMPUTED = range(7)
"""Columns: updates applied; items applied since the worker's start; utterances; sum of staleness;
updates skipped; micro-batches applied; micro-batches computed, applied or not."""
NUM_COLUMNS = 16  # rows of 128 bytes: no two workers write to one cache line
FORMER = 8  # from here on the published words hold what a plain trainer had counted
NUM_BINS = 65  # staleness 0 to 63, and more
NUM_SUMS = 4  # epochs whose sums are kept at a time
NORM, WAIT_S, FILLED, PADDED, NUM_FLOATS = 0, 1, 2, 3, 8
NUM_RATES = 64
CANARY_SIZE = 64


class Counters:
    """Counts, sums and published words of one run.

    Arguments
    ---------
    num_workers : int
        Rows.

    Attributes
    ----------
    rates, taken_rates : NDArray, NDArray
        Learning rates that the parent publishes, and those of worker 0's last update.
    canary : Tensor
        Every update adds 1 to each element in place, as it does to the parameters: what is
        missing at the end was lost in races.
    """

    def __init__(self, num_workers: int) -> None:
        self.num_workers = num_workers
        self._arrays = {
            "counts": SharedArray(num_workers * NUM_COLUMNS, torch.int64),
            "staleness": SharedArray(num_workers * NUM_BINS, torch.int64),
            "floats": SharedArray(num_workers * NUM_FLOATS, torch.float64),
            "sums": SharedArray(num_workers * NUM_SUMS * 4, torch.float64),
            "rates": SharedArray(NUM_RATES, torch.float64),
            "taken_rates": SharedArray(NUM_RATES, torch.float64),
            "words": SharedArray(NUM_COLUMNS, torch.int64),
            "canary": SharedArray(CANARY_SIZE, torch.float64),
        }
        self._open()

    def _open(self) -> None:
        def rows(name: str, *shape: int) -> np.ndarray[Any, Any]:
            array: np.ndarray[Any, Any] = self._arrays[name].tensor.numpy().reshape(*shape)
            return array

        self.counts = rows("counts", self.num_workers, NUM_COLUMNS)
        self.staleness = rows("staleness", self.num_workers, NUM_BINS)
        self.floats = rows("floats", self.num_workers, NUM_FLOATS)
        self.sums = rows("sums", self.num_workers, NUM_SUMS, 4)
        self.rates, self.taken_rates = rows("rates", NUM_RATES), rows("taken_rates", NUM_RATES)
        self.words = rows("words", NUM_COLUMNS)
        self.canary = self._arrays["canary"].tensor

    def __getstate__(self) -> dict[str, Any]:
        return {"num_workers": self.num_workers, "arrays": self._arrays}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.num_workers, self._arrays = state["num_workers"], state["arrays"]
        self._open()

    @property
    def total_updates(self) -> int:
        """Updates applied by all workers, of this run and those that it goes on with."""
        return self.total(UPDATES)

    def total(self, column: int) -> int:
        """Return the sum of a column over workers, and over a plain trainer before them."""
        return int(self.counts[:, column].sum() + self.words[FORMER + column])

    def go_on_from(self, *, updates: int, utterances: int, skipped: int) -> None:
        """Note what a plain trainer has done; it is in the totals, not in the workers' figures."""
        for column, count in ((UPDATES, updates), (UTTERANCES, utterances), (SKIPPED, skipped)):
            self.words[FORMER + column] = count

    def is_report_due(self, worker: int, every: int) -> bool:
        """Whether the update that a worker has just done is one of each `every` of the run.

        Workers tell of every n-th update of their own, in turn: so many are neither missed nor told
        twice, whatever the total was when they read it.
        """
        phase = int(self.words[FORMER + UPDATES]) + worker * every // self.num_workers
        done = int(self.counts[worker, UPDATES]) + phase
        per_update = self.num_nodes
        return done * per_update // every > (done - 1) * per_update // every

    # --- sums of an epoch: (loss, units) ------------------------------------------------------

    def epoch_sums(self, epoch: int, worker: int | None = None) -> list[Any]:
        """Return loss and units of an epoch, of one worker or of all, as a Brain keeps them."""
        rows = (
            self.sums[:, epoch % NUM_SUMS]
            if worker is None
            else self.sums[[worker], epoch % NUM_SUMS]
        )
        own = rows[rows[:, 0] == epoch]
        return [float(own[:, 1].sum()), round(own[:, 2].sum())]

    def set_epoch_sums(self, worker: int, epoch: int, sums: list[Any]) -> None:
        """Write loss and units of an epoch so far."""
        self.sums[worker, epoch % NUM_SUMS, :3] = (epoch, *sums)

    # --- published by the parent --------------------------------------------------------------

    def publish_rates(self, rates: list[float]) -> None:
        """Let all workers take these learning rates, one for each group, at their next update."""
        self.rates[: len(rates)] = rates
        self.words[0] += 1

    @property
    def num_nodes(self) -> int:
        """Nodes of the run: schedules count the updates of all as so many times one's own."""
        return max(1, int(self.words[1]))

    @num_nodes.setter
    def num_nodes(self, value: int) -> None:
        self.words[1] = value

    @property
    def rates_version(self) -> int:
        """Goes up with every publication."""
        return int(self.words[0])

    # --- figures ------------------------------------------------------------------------------

    def lost_share(self) -> float:
        """Return the share of updates that were lost in races, estimated by the canary."""
        updates = int(self.counts[:, UPDATES].sum())
        return 1.0 - float(self.canary.mean()) / updates if updates else 0.0

    def figures(self) -> dict[str, Any]:
        """Return staleness, losses and norms since the run's beginning."""
        histogram = self.staleness.sum(0)
        updates = max(int(self.counts[:, UPDATES].sum()), 1)
        return {
            "staleness_mean": self.total(STALENESS) / updates,
            "staleness_p95": _quantile(histogram, 0.95),
            "lost_updates_share": self.lost_share(),
            "grad_norm_mean": float(self.floats[:, NORM].sum()) / updates,
            "updates_by_worker": self.counts[:, UPDATES].tolist(),
            "utterances_by_worker": self.counts[:, UTTERANCES].tolist(),
            "staleness_histogram": np.trim_zeros(histogram, "b").tolist(),
        }

    def progress(self) -> dict[str, float]:
        """Return counts that grow: of all nodes, as if these were like this one, and of this one.

        ``wait_s`` is the mean over workers of the time that batches were waited for; ``filled`` and
        ``padded`` are the extents of batches, without and with padding.
        """
        wait_s, filled, padded = self.floats[:, [WAIT_S, FILLED, PADDED]].sum(0).tolist()
        return {
            "updates": self.total_updates * self.num_nodes,
            "utterances": self.total(UTTERANCES) * self.num_nodes,
            "wait_s": wait_s / self.num_workers,
            "filled": filled,
            "padded": padded,
        }

    # --- checkpoint ---------------------------------------------------------------------------

    def state(self) -> dict[str, torch.Tensor]:
        """Return copies of all arrays."""
        return {name: array.tensor.clone() for name, array in self._arrays.items()}

    def load(self, state: dict[str, torch.Tensor]) -> None:
        """Go on counting; the rows of another number of workers are added to those that are."""
        for name in ("canary", "rates", "taken_rates", "words"):
            self._arrays[name].tensor.copy_(state[name])
        for name in ("counts", "staleness", "floats"):
            own = self._arrays[name].tensor.view(self.num_workers, -1)
            former = state[name].view(-1, own.shape[1])
            for row, values in enumerate(former):
                own[row % self.num_workers] += values
        self.counts[:, ITEMS] = 0
        self._load_sums(state["sums"].view(-1, NUM_SUMS, 4).numpy())

    def _load_sums(self, former: np.ndarray[Any, Any]) -> None:
        for epoch in {int(number) for number in former[:, :, 0].flat if number}:
            own = former[:, epoch % NUM_SUMS]
            own = own[own[:, 0] == epoch]
            self.set_epoch_sums(0, epoch, [own[:, 1].sum(), own[:, 2].sum()])


class Speed:
    """How fast each worker updates, from one look to the next.

    Arguments
    ---------
    counters : Counters
        Of the run.
    """

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._updates, self._at_s = self._look()

    def _look(self) -> tuple[np.ndarray[Any, Any], float]:
        return self._counters.counts[:, UPDATES].copy(), time.monotonic()

    def lap(self) -> list[float]:
        """Return updates per second of wall clock of each worker since the last call."""
        (before, since_s), (self._updates, self._at_s) = (self._updates, self._at_s), self._look()
        return [float(num) / (self._at_s - since_s) for num in self._updates - before]


def _quantile(histogram: np.ndarray[Any, Any], share: float) -> int:
    ends = np.cumsum(histogram)
    return int(np.searchsorted(ends, share * ends[-1])) if ends[-1] else 0
