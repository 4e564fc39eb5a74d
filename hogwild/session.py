"""Asynchronous training from the parent's side: workers train, the parent validates and saves."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any

from speechbrain import Stage

from hogwild.advice import warn
from hogwild.coordinator import Coordinator
from hogwild.counters import SKIPPED, UTTERANCES, Counters, Speed
from hogwild.crew import Crew
from hogwild.ema import Ema
from hogwild.items import EpochItems, Item
from hogwild.leases import Leases
from hogwild.nodes import Averager
from hogwild.options import HogwildOptions
from hogwild.protocols import Trainee
from hogwild.pushing import UpdateLock, groups_of
from hogwild.shared import SharedModel
from hogwild.snapshot import HogwildState, Memory, Snapshot
from hogwild.watching import Watched, check
from hogwild.worker import WorkerStart

POLL_S = 1.0  # between two looks whether a checkpoint within an epoch is due


class Session:
    """The workers of one run and the parent's Brain.

    Arguments
    ---------
    brain : Any
        The parent's, recovered.
    options : HogwildOptions
        How the workers train.
    items : EpochItems
        Batches of the epochs.
    state : HogwildState
        Part of the checkpoint.
    """

    def __init__(
        self, brain: Any, options: HogwildOptions, items: EpochItems, *, state: HogwildState
    ) -> None:
        self.brain, self.options, self._state = brain, options, state
        self._nodes = state.nodes
        optimizers = brain.optimizers_dict or {}
        warn(brain.modules, optimizers.values(), options)
        shared = SharedModel(brain.modules, optimizers, options)
        counters, leases = Counters(options.num_workers), Leases(items.of, options.num_workers)
        ema = None
        if options.ema_decay is not None:
            ema = Ema(shared.params, decay=options.ema_decay, every=options.ema_every)
        self.memory = Memory(shared, counters, leases, ema)
        if state.loaded is None:  # nothing was done yet, or by the plain trainer: of it a part
            part_of = self._nodes.part_of
            counters.go_on_from(
                updates=part_of(brain.optimizer_step),
                utterances=part_of(brain.num_utterances),
                skipped=part_of(brain.nonfinite.num_skipped),
            )
        self._rng = state.restore(self.memory)
        counters.num_nodes = self._nodes.size
        if ema is not None:
            ema.updates = counters.total_updates  # this node's, as the coordinator notes them
        self._speed = Speed(counters)
        self._averager = None
        if not self._nodes.is_alone:
            self._averager = Averager(
                shared.params,
                self._nodes,
                every=options.average_every,
                momentum=options.outer_momentum,
            )
        self._rates: list[float] | None = None  # a checkpoint's are older than its validation
        self._coordinator: Coordinator | None = None
        self.on_epoch: Callable[[dict[str, Any]], None] | None = None
        self.on_progress: Callable[[dict[str, float]], None] | None = None
        self.on_note: Callable[[Item, Any], None] = _ignore
        self.validate_average: Callable[[Any, int], None] | None = None
        self.crew: Crew

    def begin(self, factory: Callable[..., Trainee], arguments: tuple[Any, ...]) -> None:
        """Start the workers."""
        lock = UpdateLock() if self.options.lock == "flock" else None

        def make_start(number: int, incarnation: int) -> WorkerStart:
            return WorkerStart(
                number,
                incarnation,
                factory,
                arguments,
                self.memory.shared,
                self.memory.counters,
                self.options,
                lock,
                self._rng[number] if incarnation == 0 else None,
                (self._nodes.rank, self._nodes.size),
            )

        self.crew = Crew(
            make_start,
            num_workers=self.options.num_workers,
            max_restarts=self.options.max_restarts,
            method=self.options.start_method,
            preload=_modules_of(factory, type(self.brain)),
        )
        self._coordinator = Coordinator(
            self.crew,
            self.memory,
            self.options,
            max_updates=self._nodes.part_of(self.brain.optimizer_step_limit),
            save_every=self.brain.ckpt_interval_steps if self._may_save_within_epochs else 0,
            on_word=self._hear,
            averager=self._averager,
        )
        self._publish_rates()
        self._coordinator.start()
        if self._averager is not None:
            self._averager.start()

    def _hear(self, kind: str, content: Any) -> None:
        if kind == "note":
            self.on_note(*content)
            return
        self.brain.on_update_end(content)
        if self.on_progress is not None:
            self.on_progress(self.memory.counters.progress())

    @property
    def _may_save_within_epochs(self) -> bool:
        # Nodes are never at the same place within an epoch, and all must take part in a save.
        return self.brain.checkpointer is not None and self._nodes.is_alone

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._averager is not None and error is None:
            self._averager.finish()
        if self._coordinator is not None:
            self._coordinator.stop(is_urgent=error is not None)

    # --- epochs -------------------------------------------------------------------------------

    def run(self, epochs: Any, valid_set: Any) -> None:
        """Validate and save at the end of each epoch, as long as the Brain wants to go on."""
        brain = self.brain
        assert self._coordinator is not None
        self._coordinator.has_begun.wait()  # the clock counts training, not starting
        self._speed.lap()
        self._coordinator.end_after(brain.seconds_left)
        numbers = iter(epochs)
        while not brain.is_finished:
            epoch = next(numbers, None)
            if epoch is None:
                return
            brain.on_stage_start(Stage.TRAIN, epoch)
            with brain.clock.running("train"):
                ahead = 0 if self.options.is_drained else 1
                self._coordinator.await_epoch(epoch, last=min(epoch + ahead, epochs.limit))
                snapshot = self._wait()
                brain.on_stage_end(Stage.TRAIN, brain.train_loss, epoch)
            if self.on_epoch is not None:
                self.on_epoch({"epoch": epoch, **self.figures()})
            self._validate(valid_set, epoch, snapshot)
            self._publish_rates()

    def _validate(self, valid_set: Any, epoch: int, snapshot: Snapshot) -> None:
        coordinator, brain = self._coordinator, self.brain
        assert coordinator is not None
        watched = None if valid_set is None else Watched(valid_set, coordinator)
        coordinator.rest(0 if self.options.evaluation == "instead" else None)
        if snapshot.ema is not None and watched is not None and self.validate_average is not None:
            self.memory.put(snapshot.ema, brain.modules)
            self.validate_average(watched, epoch)
            self.memory.put(snapshot.params, brain.modules)
        brain._fit_valid(watched, epoch, not brain.noprogressbar)
        coordinator.rest(None)

    def _wait(self) -> Snapshot:
        """Save what is due, and return what the epoch, or the run, ends with; the Brain has it."""
        assert self._coordinator is not None
        brain, events = self.brain, self._coordinator.events
        saved_at = time.time()
        while True:
            try:
                event = events.get(timeout=POLL_S if self._may_save_within_epochs else None)
            except queue.Empty:
                if brain.stop_file.is_there:
                    self._coordinator.wind_down()
                elif brain.ckpt_interval_minutes > 0 and brain._should_save_intra_epoch_ckpt(
                    saved_at, 0
                ):
                    saved_at = time.time()
                    self._coordinator.ask_snapshot()
                continue
            if isinstance(event, BaseException):
                raise event
            if self._averager is not None:
                # What follows nodes do together, within the timeout.
                self._averager.meet(partial(check, self._coordinator))
            self._install(event)
            is_cut = event.reason == "limit" and brain.must_stop and self._may_save_within_epochs
            # A finished run would not be validated when resumed: that comes first, and saves.
            if not brain.is_finished and (event.reason == "save" or is_cut):
                brain._save_intra_epoch_ckpt()
                if is_cut:
                    brain.end_run()
            elif event.reason != "save":
                return event
            self._coordinator.note_saved()

    def _install(self, snapshot: Snapshot) -> None:
        brain, memory = self.brain, self.memory
        assert self._coordinator is not None
        counted = Counters(self.options.num_workers)
        counted.load(snapshot.counters)
        snapshot.check_finite(updates=counted.total_updates)
        self._nodes.average(snapshot.params)
        self._nodes.average(snapshot.buffers)
        if snapshot.ema is not None:
            self._nodes.average(snapshot.ema)
        memory.install(snapshot, brain.modules)
        memory.shared.states.fill(brain.optimizers_dict or {}, snapshot.states, 0)
        self._state.snapshot = snapshot
        loss, units = counted.epoch_sums(snapshot.epoch)
        numbers = (counted.total_updates, counted.total(SKIPPED), counted.total(UTTERANCES), units)
        asked = brain.stop_file.is_there
        flags = (snapshot.epoch_is_open, self._coordinator.is_out_of_time, asked)
        loss, *sums = self._nodes.sum(loss, *numbers, *flags)
        updates, num_skipped, num_utterances, units, num_open, num_late, num_asked = map(
            round, sums
        )
        brain.optimizer_step, brain.nonfinite.num_skipped = updates, num_skipped
        brain.num_utterances, brain.is_out_of_time = num_utterances, num_late > 0
        brain.must_stop = num_asked > 0
        brain.train_sums = [loss, units]
        brain.train_loss = brain.mean_train_loss()
        brain.epoch_is_open = num_open > 0
        brain.step = snapshot.num_applied if brain.epoch_is_open else 0
        if brain.update_schedule is not None:
            for group, rate in zip(self._groups(), counted.taken_rates.tolist(), strict=False):
                group["lr"] = rate
        if not brain.epoch_is_open:
            brain.train_sums = [0.0, 0]

    # --- learning rates that follow validation ------------------------------------------------

    def _groups(self) -> list[dict[str, Any]]:
        return groups_of((self.brain.optimizers_dict or {}).values())

    def _publish_rates(self) -> None:
        rates = [float(group["lr"]) for group in self._groups()]
        if rates != self._rates:
            self._rates = rates
            self.memory.counters.publish_rates(rates)

    def figures(self) -> dict[str, Any]:
        """Return what the workers did since the run began."""
        return {
            **self.memory.counters.figures(),
            "updates_per_s_by_worker": self._speed.lap(),
            "restarts": self.crew.num_restarts,
            "batches_given_out_again": self.memory.leases.num_given_out_again,
        }


def _ignore(item: Item, note: Any) -> None:
    del item, note


def _modules_of(*things: Any) -> list[str]:
    return [thing.__module__ for thing in things if thing.__module__ != "__main__"]
