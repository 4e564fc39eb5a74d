"""Workers without processes: the real coordinator deals with them in an order drawn at random.

Whatever the order, an epoch must end, each batch be applied once, and a limit be kept to exactly.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from dataclasses import dataclass, field
from multiprocessing import connection
from types import SimpleNamespace
from typing import Any

from hogwild.coordinator import Coordinator
from hogwild.counters import BATCHES, ITEMS, UPDATES, Counters
from hogwild.crew import Member
from hogwild.items import EpochItems, Item
from hogwild.leases import Leases
from hogwild.options import HogwildOptions
from hogwild.snapshot import Snapshot


class StuckError(AssertionError):
    """Everybody waits for somebody."""


@dataclass
class SimulatedWorker:
    """Does what `hogwild.worker.Worker` does with its messages, one at a time."""

    member: Member
    counters: Counters
    group_size: int
    applied: Counter[tuple[int, int]]
    chance: random.Random
    inbox: deque[tuple[str, Any]] = field(default_factory=deque)
    said: deque[tuple[str, Any]] = field(default_factory=deque)
    pending: list[Item] = field(default_factory=list)
    epoch: int = 0
    asked: int = 0
    answered: int = 0
    num_told: int = 0
    must_wait: bool = False
    is_waiting: bool = False
    is_dead: bool = False

    def can_act(self) -> bool:
        if self.is_dead or not self.inbox:
            return False
        return not self.is_waiting or any(kind == "go" for kind, _ in self.inbox)

    def act(self) -> None:
        if self.is_waiting:
            self.inbox.remove(next(message for message in self.inbox if message[0] == "go"))
            self.is_waiting = False
            return
        kind, content = self.inbox.popleft()
        if kind == "item":
            self.train(content)
        elif kind == "flush":
            self.apply()
        elif kind == "ask":
            self.asked = content
        self.tell()
        if self.asked != self.answered and not self.pending:
            self.answered = self.asked
            self.said.append(("state", (self.answered, None)))
            self.is_waiting = self.must_wait

    def train(self, item: Item) -> None:
        if item.epoch > self.epoch:
            self.apply()
            self.epoch = item.epoch
        self.pending.append(item)
        if len(self.pending) == self.group_size or item.ends_epoch:
            self.apply()

    def apply(self) -> None:
        if not self.pending:
            return
        counts = self.counters.counts[self.member.number]
        counts[ITEMS] += len(self.pending)
        counts[BATCHES] += len(self.pending)
        counts[UPDATES] += 1
        self.applied.update((item.epoch, item.place) for item in self.pending)
        self.pending.clear()

    def tell(self) -> None:
        applied = int(self.counters.counts[self.member.number, ITEMS])
        is_due = len(self.inbox) <= 1 or self.chance.random() < 0.5
        if applied > self.num_told and is_due:
            self.num_told = applied
            self.said.append(("applied", applied))

    def take(self, kind: str, content: Any = None) -> None:
        each = [("item", item) for item in content] if kind == "items" else [(kind, content)]
        self.inbox.extend(each)


class SimulatedCrew:
    """Stands for `hogwild.crew.Crew`; time passes only in :meth:`wait`."""

    def __init__(
        self, counters: Counters, options: HogwildOptions, *, group_size: int, chance: random.Random
    ) -> None:
        self.counters, self.options = counters, options
        self.group_size, self.chance = group_size, chance
        self.applied: Counter[tuple[int, int]] = Counter()
        self.num_deaths = 0
        self.members = [Member(number) for number in range(options.num_workers)]
        self.workers: dict[int, SimulatedWorker] = {}

    def begin(self) -> None:
        for member in self.members:
            self.start(member)

    def start(self, member: Member) -> None:
        worker = SimulatedWorker(member, self.counters, self.group_size, self.applied, self.chance)
        worker.must_wait = self.options.is_drained
        self.workers[member.number] = worker
        member.is_ready = False
        member.tell = worker.take  # type: ignore[method-assign]
        member.heard = lambda: [worker.said.popleft() for _ in range(len(worker.said))]  # type: ignore[method-assign]
        worker.said.append(("ready", self.group_size))

    def wait(self, *others: Any, timeout_s: float | None) -> list[Any]:
        """Let workers act until one is heard."""
        called = connection.wait(others, timeout=0)
        if called:
            return called
        while True:
            workers = list(self.workers.values())
            speakers = [w for w in workers if w.said or w.is_dead]
            actors = [w for w in workers if w.can_act()]
            if not speakers and not actors:
                raise StuckError([(w.member.number, w.pending, w.asked) for w in workers])
            worker = self.chance.choice(speakers + actors)
            if worker in speakers and (worker not in actors or self.chance.random() < 0.5):
                return [worker.member]
            if self.num_deaths and self.chance.random() < 0.1:
                self.num_deaths -= 1
                worker.is_dead = True
            else:
                worker.act()

    def is_dead(self, member: Member) -> bool:
        return self.workers[member.number].is_dead

    def bury(self, member: Member) -> None:
        assert self.is_dead(member)

    def restart(self, member: Member) -> None:
        self.start(member)

    def mind_hangs(self, options: HogwildOptions, *, is_busy: Any) -> None:
        pass


@dataclass
class SimulatedMemory:
    """Stands for `hogwild.snapshot.Memory`."""

    leases: Leases
    counters: Counters
    ema: None = None

    def copy(self, reason: Any, *, epoch: int, rng: Any) -> Any:
        return SimpleNamespace(reason=reason, epoch=epoch, num_applied=None)


def simulate(
    options: HogwildOptions,
    *,
    num_items: int,
    group_size: int,
    epochs: int,
    max_updates: int | None = None,
    save_every: int = 0,
    num_deaths: int = 0,
    seed: int = 0,
) -> tuple[Counter[tuple[int, int]], int, list[Snapshot]]:
    """Train without training; return applications by (epoch, place), updates, snapshots."""
    counters = Counters(options.num_workers)
    leases = Leases(EpochItems(lambda _: num_items).of, options.num_workers)
    crew = SimulatedCrew(counters, options, group_size=group_size, chance=random.Random(seed))
    crew.num_deaths = num_deaths
    coordinator = Coordinator(
        crew,  # type: ignore[arg-type]
        SimulatedMemory(leases, counters),  # type: ignore[arg-type]
        options,
        max_updates=max_updates,
        save_every=save_every,
        on_word=print,
    )
    crew.begin()
    snapshots = []
    validates_instead = options.evaluation == "instead"
    ahead = 0 if options.is_drained else 1
    for epoch in range(1, epochs + 1):
        if validates_instead and epoch > 1:
            coordinator.rest(0)
        coordinator.await_epoch(epoch, last=min(epoch + ahead, epochs))
        while True:
            try:
                coordinator.serve()
            except StuckError:
                if not validates_instead:
                    raise
                coordinator.rest(None)  # the validation has ended
            while not coordinator.events.empty():
                snapshots.append(coordinator.events.get())
                coordinator.note_saved()
            if snapshots and snapshots[-1].reason != "save" and snapshots[-1].epoch == epoch:
                break
        if snapshots[-1].reason == "limit":
            break
    coordinator.stop(is_urgent=True)
    return crew.applied, counters.total_updates, snapshots
