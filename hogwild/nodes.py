"""Several nodes: each trains asynchronously, and now and then they average their parameters.

One parent on each node, started by torchrun, joined in a process group of torch.distributed. Nodes
take every n-th batch of the plan. An average never stops a worker: while parameters travel the
workers go on, and what they add meanwhile stays (post-local SGD, Lin et al. 2018; the outer
momentum is that of DiLoCo, Douillard et al. 2023).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any, overload

import torch
import torch.distributed as dist

from hogwild.flat import Flats, cloned

BEAT_S = 1.0  # between two signs of life of a node, at the longest


class Nodes:
    """The nodes of a run; one alone needs no process group.

    Arguments
    ---------
    timeout_s : float | None
        How long a node waits for the others in an exchange; None: as torch.distributed does.
    """

    def __init__(self, timeout_s: float | None = None) -> None:
        is_joined = dist.is_available() and dist.is_initialized()
        self.rank = dist.get_rank() if is_joined else 0
        self.size = dist.get_world_size() if is_joined else 1
        # Two threads talk to the other nodes, each in a group of its own.
        limit = None if timeout_s is None else timedelta(seconds=timeout_s)
        self._main_group, self.average_group = (
            dist.new_group(backend="gloo", timeout=limit) if self.size > 1 else None
            for _ in range(2)
        )

    @property
    def is_alone(self) -> bool:
        """Whether there is one node only."""
        return self.size == 1

    @overload
    def part_of(self, count: int) -> int: ...

    @overload
    def part_of(self, count: None) -> None: ...

    def part_of(self, count: int | None) -> int | None:
        """Return this node's part of a count, such as a limit in updates."""
        if count is None:
            return None
        return count // self.size + (self.rank < count % self.size)

    def sum(self, *numbers: float) -> list[float]:
        """Return sums over nodes; every node's main thread must call it."""
        values = torch.tensor(numbers, dtype=torch.float64)
        if not self.is_alone:
            dist.all_reduce(values, group=self._main_group)
        return [float(value) for value in values]

    def average(self, flats: Flats) -> None:
        """Average buffers over nodes, in place; every node's main thread must call it."""
        if not self.is_alone:
            average(flats, self._main_group, self.size)

    def gather(self, state: Any) -> list[Any]:
        """Return the states of all nodes; every node's main thread must call it."""
        if self.is_alone:
            return [state]
        states: list[Any] = [None] * self.size
        dist.all_gather_object(states, state, group=self._main_group)
        return states


def average(flats: Flats, group: Any, size: int) -> None:
    """Average buffers over a group, in place; whole numbers stay those of each node."""
    for flat in flats.values():
        if flat.is_floating_point():
            dist.all_reduce(flat, group=group)
            flat /= size


class Averager(threading.Thread):
    """Averages the shared parameters over nodes every so many updates of each node.

    It meets the other nodes' averagers at least every ``BEAT_S`` seconds, whatever its own node
    does: a node that validates or waits is told from one that is lost, however long it takes.

    Arguments
    ---------
    params : Flats
        The shared parameters.
    nodes : Nodes
        All nodes.
    every : int
        Updates of this node between two averages.
    momentum : float
        Of the steps that averages take from one to the next.
    """

    def __init__(self, params: Flats, nodes: Nodes, *, every: int, momentum: float) -> None:
        super().__init__(name="hogwild-averager", daemon=True)
        self._params, self._nodes = params, nodes
        self._every, self._momentum = every, momentum
        self._is_due = threading.Event()
        self._is_over = False
        self._updates = 0
        self._last: Flats = cloned(params)
        self._speed = {dtype: torch.zeros_like(flat) for dtype, flat in self._last.items()}
        self._news = threading.Condition()
        self._num_meetings = self._num_met = 0  # that this node has come to; that all have
        self.failure: BaseException | None = None
        self.num_averages = 0

    def note(self, updates: int) -> None:
        """Note this node's number of updates; it may be time for an average."""
        if updates - self._updates >= self._every:
            self._updates = updates
            self._is_due.set()

    def meet(self, check: Callable[[], None]) -> None:
        """Wait until every node has come here as often, as long as they live.

        Averages go on meanwhile, as often as the nodes that are not here yet want them.

        Arguments
        ---------
        check : Callable[[], None]
            Called now and then; raises if there is nothing to wait for any more.

        Raises
        ------
        RuntimeError
            If a node is lost.
        """
        with self._news:
            self._num_meetings += 1
            while self._num_met < self._num_meetings:
                self.check()
                check()
                self._news.wait(BEAT_S)

    def check(self) -> None:
        """Raise a RuntimeError if a node is lost."""
        if self.failure is not None:
            raise RuntimeError("hogwild: lost a node") from self.failure

    def finish(self) -> None:
        """Take part until all nodes have finished, and end."""
        self._is_over = True
        self._is_due.set()
        self.join()

    def run(self) -> None:
        """Average until all nodes have finished."""
        try:
            while self._round():
                pass
        except RuntimeError as error:  # the connection to a node is lost
            with self._news:
                self.failure = error
                self._news.notify_all()

    def _round(self) -> bool:
        self._is_due.wait(BEAT_S)
        is_over = self._is_over
        is_due = self._is_due.is_set() and not is_over
        votes = torch.zeros(self._nodes.size, 3, dtype=torch.int64)
        votes[self._nodes.rank] = torch.tensor([is_over, is_due, self._num_meetings])
        dist.all_reduce(votes, group=self._nodes.average_group)
        over, due, meetings = votes.unbind(1)
        with self._news:
            self._num_met = int(meetings.min())
            self._news.notify_all()
        # Who has finished, or waits for others at a meeting, takes part in what they want.
        is_willing = (over + due > 0) | (meetings > meetings.min())
        if due.any() and is_willing.all():
            if is_due:
                self._is_due.clear()
            self._average()
        return not over.all()

    @torch.no_grad()
    def _average(self) -> None:
        taken = cloned(self._params)
        mean = {dtype: flat.clone() for dtype, flat in taken.items()}
        average(mean, self._nodes.average_group, self._nodes.size)
        for dtype, target in self._params.items():
            step = mean[dtype] - self._last[dtype]
            self._speed[dtype].mul_(self._momentum).add_(step)
            aim = self._last[dtype] + self._speed[dtype] if self._momentum else mean[dtype]
            self._last[dtype] = aim
            target.add_((aim - taken[dtype]).to(target.device))
        self.num_averages += 1
