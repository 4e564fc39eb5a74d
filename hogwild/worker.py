"""A worker process: builds its Brain, attaches it to the shared model, trains what it is given."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import torch
from speechbrain import Stage

from hogwild.counters import COMPUTED, FILLED, ITEMS, PADDED, WAIT_S, Counters
from hogwild.inbox import Inbox
from hogwild.items import Item
from hogwild.options import HogwildOptions
from hogwild.protocols import Trainee
from hogwild.pushing import Pusher, UpdateLock
from hogwild.shared import SharedModel
from hogwild.worker_log import WorkerLog

PR_SET_PDEATHSIG = 1
TELL_EVERY_S = 0.05  # a message costs a worker half a millisecond
DISTRIBUTED = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")


@dataclass(frozen=True)
class WorkerStart:
    """All that a worker process is given.

    Arguments
    ---------
    number : int
        The worker's, from 0.
    incarnation : int
        How often it was started before.
    factory : Callable[..., Trainee]
        Makes the Brain and the data; a function of a module.
    arguments : tuple[Any, ...]
        Of the factory, after the worker's number.
    shared : SharedModel
        What it trains.
    counters : Counters
        Where it counts.
    options : HogwildOptions
        How it trains.
    lock : UpdateLock | None
        Held during updates.
    rng : Any
        State of its random streams, to go on with; None: seeded anew.
    node : tuple[int, int]
        Which node of how many.
    """

    number: int
    incarnation: int
    factory: Callable[..., Trainee]
    arguments: tuple[Any, ...]
    shared: SharedModel
    counters: Counters
    options: HogwildOptions
    lock: UpdateLock | None = None
    rng: Any = None
    node: tuple[int, int] = (0, 1)


def work(start: WorkerStart, pipe: Connection) -> None:
    """Be a worker until the parent says stop or ends; an exception is told to it.

    Arguments
    ---------
    start : WorkerStart
        What to do.
    pipe : Connection
        To the parent.

    Raises
    ------
    SystemExit
        With code 1 after an exception, which the parent reports.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    die_with_parent()
    for name in DISTRIBUTED:
        os.environ.pop(name, None)  # the parent's process group is not the worker's
    torch.set_num_threads(start.options.threads_per_worker)
    log = WorkerLog()
    logging.getLogger().addHandler(log)
    try:
        Worker(start, pipe, log).run()
    except BaseException as error:
        text = "".join(traceback.format_exception(error))
        try:
            log.send(pipe)
            pipe.send(("error", text))
        except OSError:  # the parent is gone, so nobody asks
            sys.stderr.write(text)
        raise SystemExit(1) from error


def die_with_parent() -> None:
    """Ask the kernel to end this process when the process that started it ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Worker:
    """The loop of a worker: batches in, updates out.

    Arguments
    ---------
    start : WorkerStart
        What to do.
    pipe : Connection
        To the parent; only this thread sends.
    log : WorkerLog
        What this thread sends for all.
    """

    def __init__(self, start: WorkerStart, pipe: Connection, log: WorkerLog) -> None:
        self.start, self._pipe, self._log = start, pipe, log
        self._trainee = start.factory(start.number, *start.arguments)
        self.brain = self._trainee.brain
        if self.brain.optimizers_dict is None:
            self.brain.init_optimizers()
        self._pusher = Pusher(
            self.brain,
            start.shared,
            start.counters,
            worker=start.number,
            options=start.options,
            lock=start.lock,
        )
        self.brain.on_update_end = self._report
        self._inbox = Inbox(pipe, self._trainee.batches)
        log.wake = partial(self._inbox.put, "log")
        self._epoch = 0
        self._num_told = self._answered = 0
        self._told_at_s = 0.0
        self._seed()

    def _seed(self) -> None:
        if self.start.rng is not None:
            self._trainee.set_rng_state(self.start.rng)
        else:
            # Never the stream of another worker, nor that of a former life.
            node, num_nodes = self.start.node
            life = node + num_nodes * self.start.incarnation
            self._trainee.seed(self.start.number + self.start.options.num_workers * life)

    def run(self) -> None:
        """Train until told to stop."""
        self._pipe.send(("ready", int(self.brain.grad_accumulation_factor)))
        waits_since_s = time.monotonic()
        while True:
            self._log.send(self._pipe)
            kind, content = self._inbox.get()
            if kind == "stop":
                return
            if kind == "failed":
                raise content
            if kind == "item":
                item, batch, read_since_s = content
                waited_s = time.monotonic() - max(waits_since_s, read_since_s)
                self._count(batch, waited_s=waited_s)
                self._note(item, batch)
                self._train(item, batch)
            elif kind == "flush":
                self._flush()
            self._tell()
            self._answer()
            if kind != "log":  # which may come while a batch is waited for
                waits_since_s = time.monotonic()

    def _count(self, batch: Any, *, waited_s: float) -> None:
        floats = self.start.counters.floats[self.start.number]
        floats[WAIT_S] += waited_s  # for its reading, not for the parent to give it out
        if self._trainee.extent is not None:
            floats[[FILLED, PADDED]] += self._trainee.extent(batch)

    def _note(self, item: Item, batch: Any) -> None:
        note = self._trainee.note(batch)
        if note is not None:
            self._pipe.send(("note", (item, note)))

    def _train(self, item: Item, batch: Any) -> None:
        if item.epoch > self._epoch:  # one of an earlier epoch, given out again, joins this one
            self._change_epoch(item.epoch)
        if item.ends_epoch:
            batch.ends_epoch = True
        self.brain.step += 1
        self.brain.epoch_is_open = not item.ends_epoch
        self._pusher.note_item()
        self.brain.fit_batch(batch)
        self.start.counters.counts[self.start.number, COMPUTED] += 1

    def _flush(self) -> None:
        if self._pusher.num_pending:
            self.brain.optimizers_step()

    def _change_epoch(self, epoch: int) -> None:
        brain = self.brain
        if self._epoch:
            self._flush()
            brain.epoch_is_open = False
            brain.end_epoch(self._epoch)
            self._pusher.check(when=f"after epoch {self._epoch}")
        self._epoch = self._pusher.epoch = epoch
        brain.on_stage_start(Stage.TRAIN, epoch)
        brain.modules.train()
        brain.modules.zero_grad(set_to_none=True)
        brain.start_epoch(num_batches=None)
        brain.step = 0
        brain.train_sums = self.start.counters.epoch_sums(epoch, self.start.number)
        self._pusher.check(when=f"at the start of epoch {epoch}")

    def _tell(self) -> None:
        # Always before the last message is dealt with, so that the parent never waits for a word.
        applied = int(self.start.counters.counts[self.start.number, ITEMS])
        now_s = time.monotonic()
        is_due = self._inbox.num_waiting <= 1 or now_s - self._told_at_s >= TELL_EVERY_S
        if applied > self._num_told and is_due:
            self._num_told, self._told_at_s = applied, now_s
            self._pipe.send(("applied", applied))

    def _answer(self) -> None:
        # Between two updates only; the parent sees to it that no group stays incomplete.
        inbox = self._inbox
        if inbox.asked == self._answered or self._pusher.num_pending:
            return
        self._answered = inbox.asked
        inbox.may_go.clear()
        if self._pusher.has_own_states:
            states = self.start.shared.states
            states.publish(self.brain.optimizers_dict, self.start.number)
        self._pipe.send(("state", (self._answered, self._trainee.rng_state())))
        if self.start.options.is_drained:
            inbox.may_go.wait()

    def _report(self, report: Any) -> None:
        self._pusher.note_report(report)
        if self.start.counters.is_report_due(self.start.number, self.start.options.report_every):
            self._pipe.send(("report", report))
