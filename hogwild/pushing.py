"""One update of one worker: the Brain's own step on shared parameters, measured and counted."""

from __future__ import annotations

import fcntl
import inspect
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import reduction
from typing import Any

import torch
from torch.optim import Optimizer

from hogwild.counters import BATCHES, ITEMS, NORM, SKIPPED, STALENESS, UPDATES, UTTERANCES, Counters
from hogwild.options import HogwildOptions
from hogwild.shared import LocalCopy, SharedModel


class UpdateLock:
    """An advisory lock of a file without a name: the kernel frees it when its holder dies."""

    def __init__(self) -> None:
        self._fd = os.memfd_create("stampede-hogwild-lock", os.MFD_CLOEXEC)
        self._own = self._fd

    def __getstate__(self) -> dict[str, Any]:
        return {"fd": reduction.DupFd(self._fd)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._fd = state["fd"].detach()
        # Opened anew: a lock belongs to an opening of a file, and a copied descriptor shares it.
        self._own = os.open(f"/proc/self/fd/{self._fd}", os.O_RDWR)

    def __del__(self) -> None:
        for fd in {self._fd, self._own}:
            os.close(fd)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock inside the block."""
        fcntl.flock(self._own, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._own, fcntl.LOCK_UN)


class Pusher:
    """Wraps `on_fit_batch_start`, `optimizers_step` and `apply_update` of a Brain.

    The step is the optimizer's own, in place on the shared parameters: it adds to what the others
    have written meanwhile, and never puts back what it has read.

    Arguments
    ---------
    brain : Any
        Whose methods are wrapped; its optimizers must exist.
    shared : SharedModel
        What it trains.
    counters : Counters
        Where it counts.
    worker : int
        Its row there.
    options : HogwildOptions
        Access, lock, rates.
    lock : UpdateLock | None
        Held during a step, if given.
    """

    def __init__(  # noqa: PLR0913 - what an update touches
        self,
        brain: Any,
        shared: SharedModel,
        counters: Counters,
        *,
        worker: int,
        options: HogwildOptions,
        lock: UpdateLock | None = None,
    ) -> None:
        self.brain, self.shared, self.counters = brain, shared, counters
        self.worker, self.options, self._lock = worker, options, lock
        self.epoch = 0
        self.num_pending = 0
        self._num_utterances = 0
        self._seen = 0
        self._has_read = False  # parameters, for the group under way
        self._rates_version = 0
        self._local: LocalCopy | None = None
        self._attach()
        warm_up(brain.optimizers_dict.values())
        self._start_batch = brain.on_fit_batch_start
        self._step_optimizers, self._apply = brain.optimizers_step, brain.apply_update
        brain.on_fit_batch_start = self.on_fit_batch_start
        brain.optimizers_step, brain.apply_update = self.optimizers_step, self.apply_update

    def _attach(self) -> None:
        modules, states = self.brain.modules, self.shared.states
        lookahead = self.options.lookahead * momentum_of(self.brain.optimizers_dict.values())
        lookahead *= self.options.num_workers - 1
        if lookahead or self.options.access == "pull_push":
            self._local = LocalCopy(self.shared, modules, lookahead=lookahead)
        else:
            self.shared.attach_params(modules)
        self.shared.attach_buffers(modules, is_owner=self.worker == 0)
        if self.has_own_states:
            states.fetch(self.brain.optimizers_dict, self.worker)
        else:
            states.bind(self.brain.optimizers_dict, self.worker)

    @property
    def has_own_states(self) -> bool:
        """Whether optimizer states lie on a device of the worker's own."""
        return self.options.access == "pull_push" and self.brain.device != "cpu"

    def check(self, *, when: str) -> None:
        """Refuse parameters that have left their place."""
        (self._local or self.shared).check(self.brain.modules, when=when)

    def note_item(self) -> None:
        """Note that an item is trained on; the group that it joins counts it, applied or not."""
        self.num_pending += 1

    def on_fit_batch_start(self, batch: Any, should_step: bool) -> None:
        """Note the moment at which a group's parameters are read, then do the Brain's own."""
        if not self._has_read:
            self._has_read = True
            self._seen = self.counters.total_updates
            self.brain.optimizer_step = self._seen * self.counters.num_nodes
            if self._local is not None:
                self._local.pull()
        self._num_utterances += len(getattr(batch, "id", None) or ())
        self._start_batch(batch, should_step)

    def optimizers_step(self) -> None:
        """Do the Brain's `optimizers_step` at the global number of updates."""
        self.brain.optimizer_step = self.counters.total_updates * self.counters.num_nodes
        self._take_rates()
        num_skipped = self.brain.nonfinite.num_skipped
        self._step_optimizers()
        counts = self.counters.counts[self.worker]
        counts[SKIPPED] += self.brain.nonfinite.num_skipped - num_skipped
        self._end_group(num_utterances=0)  # nothing is left of one that was applied
        self.counters.set_epoch_sums(self.worker, self.epoch, self.brain.train_sums)
        if self.worker == 0:
            self.shared.push_buffers(self.brain.modules)
            for number, group in enumerate(groups_of(self.brain.optimizers_dict.values())):
                self.counters.taken_rates[number] = group["lr"]

    def apply_update(self, optimizers: list[Any]) -> None:
        """Do the Brain's `apply_update`, and count it at once."""
        staleness = self.counters.total_updates - self._seen
        if self._lock is None:
            self._step(optimizers, staleness)
        else:
            with self._lock.held():
                self._step(optimizers, staleness)
        counts = self.counters.counts[self.worker]
        counts[UPDATES] += 1
        counts[STALENESS] += staleness
        self.counters.staleness[self.worker, min(staleness, 64)] += 1
        if not self.has_own_states:
            self.shared.states.adopt(self.brain.optimizers_dict, self.worker)

    def _step(self, optimizers: list[Any], staleness: int) -> None:
        self.counters.canary.add_(1.0)
        with scaled_rates(optimizers, (1 + staleness) ** -self.options.staleness_power):
            self._apply(optimizers)
            if self._local is not None:
                self._local.push()
            if torch.device(self.brain.device).type == "cuda":
                # Its kernels are only enqueued until here.
                torch.cuda.current_stream(self.brain.device).synchronize()
            # At once: a death from here on repeats nothing.
            self._end_group(num_utterances=self._num_utterances)

    def _end_group(self, *, num_utterances: int) -> None:
        counts = self.counters.counts[self.worker]
        counts[ITEMS] += self.num_pending
        counts[BATCHES] += self.num_pending
        counts[UTTERANCES] += num_utterances
        self.num_pending = self._num_utterances = 0
        self._has_read = False

    def note_report(self, report: Any) -> None:
        """Note the gradient norm of an update."""
        if report.is_applied:
            self.counters.floats[self.worker, NORM] += report.grad_norm

    def _take_rates(self) -> None:
        version = self.counters.rates_version
        if version != self._rates_version:
            self._rates_version = version
            groups = groups_of(self.brain.optimizers_dict.values())
            for group, rate in zip(groups, self.counters.rates.tolist(), strict=False):
                group["lr"] = rate


def warm_up(optimizers: Iterable[Optimizer]) -> None:
    """Take a step with a small optimizer of each kind: the first one in a process is slow.

    The time between a step and its count must be short, as a death in it repeats the batch.
    """
    for optimizer in optimizers:
        known = inspect.signature(type(optimizer)).parameters
        options = {key: value for key, value in optimizer.defaults.items() if key in known}
        param = torch.nn.Parameter(torch.zeros(1))
        param.grad = torch.zeros(1)
        kind: Any = type(optimizer)
        kind([param], **options).step()


def momentum_of(optimizers: Iterable[Optimizer]) -> float:
    """Return how much of a step is expected to be taken again by the next one: the momentum.

    Arguments
    ---------
    optimizers : Iterable[Optimizer]
        Adam and its kin have it as the first of ``betas``, SGD as ``momentum``; others: 0.

    Returns
    -------
    float
        The least of all their groups.
    """
    found = [group.get("betas", [group.get("momentum", 0.0)])[0] for group in groups_of(optimizers)]
    return float(min(found, default=0.0))


def groups_of(optimizers: Any) -> list[dict[str, Any]]:
    """Return the parameter groups of all optimizers."""
    return [group for optimizer in optimizers for group in optimizer.param_groups]


@contextmanager
def scaled_rates(optimizers: list[Any], factor: float) -> Iterator[None]:
    """Multiply all learning rates by a factor inside the block."""
    if factor == 1.0:
        yield
        return
    groups = groups_of(optimizers)
    before = [group["lr"] for group in groups]
    for group in groups:
        group["lr"] = group["lr"] * factor
    try:
        yield
    finally:
        for group, rate in zip(groups, before, strict=True):
            group["lr"] = rate
