"""The parent's thread that hands out batches, minds the workers and takes snapshots.

It never waits for a validation, and a validation never waits for it.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from hogwild.calls import Calls
from hogwild.counters import BATCHES, COMPUTED, ITEMS
from hogwild.crew import Crew, Member, WorkerError
from hogwild.groups import Groups
from hogwild.items import Item
from hogwild.nodes import Averager
from hogwild.options import HogwildOptions
from hogwild.snapshot import Memory, Snapshot


class Coordinator(threading.Thread):
    """Runs until :meth:`stop`; what happens is put into `events`: Snapshots, or one exception.

    Arguments
    ---------
    crew : Crew
        The workers, not started yet.
    memory : Memory
        What they share; its leases are used by this thread only.
    options : HogwildOptions
        How they train.
    max_updates : int | None
        No more updates than this are applied.
    save_every : int
        Batches between two snapshots for a checkpoint within an epoch; 0: none.
    on_word : Callable[[str, Any], None]
        Called with a worker's "report" of an update or "note" of a batch, in this thread.
    averager : Averager | None
        Averages over nodes; told of progress.
    """

    def __init__(
        self,
        crew: Crew,
        memory: Memory,
        options: HogwildOptions,
        *,
        max_updates: int | None,
        save_every: int = 0,
        on_word: Callable[[str, Any], None],
        averager: Averager | None = None,
    ) -> None:
        super().__init__(name="hogwild-coordinator", daemon=True)
        self.events: queue.SimpleQueue[Snapshot | BaseException] = queue.SimpleQueue()
        self.failure: BaseException | None = None
        self.has_begun = threading.Event()  # all workers are ready, or one has failed
        self._crew, self._memory, self._options = crew, memory, options
        self._leases, self._counters = memory.leases, memory.counters
        self._max_updates, self._on_word = max_updates, on_word
        self._averager = averager
        self._save_every = save_every
        self._saved_batches = self._counters.total(BATCHES)
        self._is_saving = False  # a snapshot for a save is on its way, or being written
        self._calls = Calls()
        self._is_stopping = self._is_urgent = False
        self._epoch = 0  # the earliest that is not complete
        self._is_awaited = False
        self._reason: Any = None
        self._resting: int | None = None
        self._deadline_s = math.inf
        self._is_winding_down = False
        self._asked: set[int] = set()
        self._question = 0
        self._rng: list[Any] = [None] * options.num_workers

    # --- called by the main thread ------------------------------------------------------------

    def await_epoch(self, epoch: int, *, last: int) -> None:
        """Let epochs up to `last` be handed out, and give a snapshot when `epoch` is complete."""

        def command() -> None:
            self._epoch, self._is_awaited = epoch, True
            self.allow(last)

        self._calls.put(command)

    def ask_snapshot(self) -> None:
        """Give a snapshot as soon as possible, for a checkpoint within an epoch."""
        self._calls.put(lambda: self._ask("save"))

    def note_saved(self) -> None:
        """Let the next snapshot for a checkpoint within an epoch be taken: the last is written."""
        self._is_saving = False

    def end_after(self, seconds: float) -> None:
        """Hand out no batches after so many seconds; infinity: no limit."""
        self._deadline_s = time.monotonic() + seconds

    def wind_down(self) -> None:
        """Hand out no more batches; when those in hand are applied, give a snapshot."""
        self._calls.put(lambda: setattr(self, "_is_winding_down", True))

    @property
    def is_out_of_time(self) -> bool:
        """Whether the limit in seconds is reached."""
        return time.monotonic() >= self._deadline_s

    def rest(self, number: int | None) -> None:
        """Hand no batches to one worker; None: to all again."""

        def command() -> None:
            self._resting = number
            if number is not None:
                self._flush(self._crew.members[number])

        self._calls.put(command)

    def stop(self, *, is_urgent: bool) -> None:
        """End the workers and this thread, and wait until they are gone."""

        def command() -> None:
            self._is_stopping, self._is_urgent = True, is_urgent

        if self.is_alive():
            self._calls.put(command)
            self.join()
        self._calls.close()

    # --- the thread ---------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until stopped; an error is put into `events`."""
        try:
            self._crew.begin()
            while not self._is_stopping:
                self.serve()
        except BaseException as error:  # noqa: BLE001 - handed on to the main thread
            self._is_urgent, self.failure = True, error
            self.events.put(error)
            self.has_begun.set()
        finally:
            self._crew.end(is_urgent=self._is_urgent)

    def serve(self) -> None:
        """Hear the workers, hand out batches, and take a snapshot if it is due."""
        timeout_s = self._options.worker_timeout_s
        wait_s = None if timeout_s is None else min(1.0, timeout_s / 4)
        for thing in self._crew.wait(self._calls, timeout_s=wait_s):
            if isinstance(thing, Member):
                self._hear(thing)
        self._calls.make()
        for member in self._crew.members:
            member.note_computed(int(self._counters.counts[member.number, COMPUTED]))
        self._crew.mind_hangs(self._options, is_busy=self._leases.held)
        self._hand_out()
        self._mind_progress()
        while self._reason is not None and not self._asked:
            self._take_snapshot()
            self._mind_progress()  # an epoch may have become complete meanwhile

    def _hear(self, member: Member) -> None:
        is_dead = self._crew.is_dead(member)  # asked first: what it said last is still heard
        for kind, content in member.heard():
            member.note_progress()
            if kind == "ready":
                member.is_ready, member.groups = True, Groups(content)
                if all(other.is_ready for other in self._crew.members):
                    self.has_begun.set()
            elif kind == "applied":
                self._leases.note_applied(member.number, content)
                member.groups.note_applied(content)
            elif kind == "state":
                self._note_state(member, *content)
            elif kind == "error":
                raise WorkerError(f"hogwild: worker {member.number} raised:\n{content}")
            else:
                self._on_word(kind, content)
        if is_dead:
            self._replace(member)

    def _note_state(self, member: Member, question: int, rng: Any) -> None:
        if question == self._question:
            self._rng[member.number] = rng
            self._asked.discard(member.number)

    def _replace(self, member: Member) -> None:
        number = member.number
        self._crew.bury(member)
        self._leases.note_applied(number, int(self._counters.counts[number, ITEMS]))
        self._leases.give_back(number)
        self._counters.counts[number, ITEMS] = 0
        self._asked.discard(number)
        self._rng[number] = None
        self._crew.restart(member)

    # --- batches ------------------------------------------------------------------------------

    def allow(self, last: int) -> None:
        """Open epochs up to one."""
        for epoch in range(self._epoch, last + 1):
            self._leases.open(epoch)

    def _hand_out(self) -> None:
        is_over = self._is_over()
        given: dict[int, list[Item]] = {}
        while not is_over and (item := self._leases.next_item()) is not None:
            able = [member for member in self._crew.members if self._may_lease(member, item)]
            if not able:
                break
            member = min(able, key=lambda m: self._leases.held(m.number))
            member.groups.add(item)
            given.setdefault(member.number, []).append(self._leases.lease(member.number))
        for member in self._crew.members:
            if member.number in given:
                member.tell("items", given[member.number])
            epoch = member.groups.open_epoch
            if epoch is not None and (is_over or not self._leases.has_waiting(epoch)):
                self._flush(member)

    def _flush(self, member: Member) -> None:
        # An incomplete group must not wait for items that do not come.
        if member.groups.open_epoch is not None:
            member.groups.close()
            member.tell("flush")

    def _may_lease(self, member: Member, item: Item) -> bool:
        depth = self._options.prefetch + member.groups.size
        is_free = member.is_ready and member.number != self._resting
        if not is_free or self._leases.held(member.number) >= depth:
            return False
        if self._max_updates is None:
            return True
        to_come = self._num_to_come() + member.groups.would_begin(item)
        return self._counters.total_updates + to_come <= self._max_updates

    def _is_over(self) -> bool:
        return self._is_winding_down or self.is_out_of_time

    def _num_to_come(self) -> int:
        return sum(len(member.groups) for member in self._crew.members)

    # --- snapshots ----------------------------------------------------------------------------

    def _mind_progress(self) -> None:
        updates = self._counters.total_updates
        if self._memory.ema is not None:
            self._memory.ema.note(self._memory.shared.params, updates=updates)
        if self._averager is not None:
            self._averager.note(updates)
            self._averager.check()
        is_limit = self._max_updates is not None and updates >= self._max_updates
        is_limit = is_limit or (self._is_over() and not self._num_to_come())
        if self._reason is not None:
            return
        if self._is_awaited and self._leases.is_complete(self._epoch):
            self._ask("epoch")
        elif self._is_awaited and is_limit:
            self._ask("limit")
        elif self._save_every and self._num_unsaved() >= self._save_every:
            self._ask("save")

    def _num_unsaved(self) -> int:
        return self._counters.total(BATCHES) - self._saved_batches

    def _ask(self, reason: Any) -> None:
        if reason == "save":
            if self._is_saving or self._reason is not None:
                return
            self._is_saving = True
        self._reason = reason
        self._question += 1
        self._asked = {member.number for member in self._crew.members if member.is_ready}
        for member in self._crew.members:
            if member.number in self._asked:
                member.tell("ask", self._question)

    def _take_snapshot(self) -> None:
        reason, self._reason = self._reason, None
        for member in self._crew.members:
            applied = int(self._counters.counts[member.number, ITEMS])
            self._leases.note_applied(member.number, applied)
        epoch = self._epoch
        num_applied = self._leases.num_applied(epoch)
        self._saved_batches = self._counters.total(BATCHES)
        if reason == "epoch":
            self._leases.close(epoch)
            self._epoch = epoch + 1
        snapshot = self._memory.copy(reason, epoch=epoch, rng=self._rng)
        snapshot.num_applied = num_applied
        if reason != "save":
            self._is_awaited = False
        self.events.put(snapshot)
        if self._options.is_drained:
            for member in self._crew.members:
                member.tell("go")
