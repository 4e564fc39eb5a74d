"""The options of asynchronous training."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class HogwildOptions:
    """How the workers train.

    Arguments
    ---------
    num_workers : int
        Worker processes on this machine; > 0.
    share_state : Literal["private", "second", "all"]
        What of the optimizer's state the workers share: nothing; second moments (and counts); all.
    lookahead : float
        A gradient is computed not with the parameters as they are, but as they are expected to be
        when its step is added: so many times momentum x (num_workers - 1) x the worker's own last
        step ahead. 0: as they are. Without momentum, or with one worker, it changes nothing.
    access : Literal["direct", "pull_push"]
        Where the shared parameters lie. "direct": where the workers compute, on the CPU or on one
        GPU. "pull_push": on the host, one worker per GPU. A worker that looks ahead or pulls and
        pushes copies them, computes its step alone and adds the difference.
    lock : Literal["free", "flock"]
        "flock": one update at a time, for comparison; the kernel frees it if its holder dies.
    staleness_power : float
        The rate of an update is divided by (1 + staleness) to this power; 0: not. An update that
        nobody overtook keeps its rate.
    drain : Literal["auto"] | bool
        True: workers rest while a snapshot is copied, and the next epoch begins after validation;
        a run with one worker is then that of the plain trainer. "auto": for one worker only.
    evaluation : Literal["beside", "instead"]
        Where validation runs, always on a copy: in the parent beside all workers, or in the parent
        instead of worker 0, which rests meanwhile, so that no more processes compute than workers.
    prefetch : int
        Batches that a worker reads ahead; > 0.
    max_restarts : int
        Workers that may die by a signal and are started again; one more ends the run.
    worker_timeout_s : float | None
        A worker that holds a batch and computes no micro-batch for so long has hung; None: wait.
    on_timeout : Literal["error", "restart"]
        What becomes of it.
    ema_decay : float | None
        Decay per update of an average of the shared parameters, validated too; None: no average.
    ema_every : int
        Updates between two contributions to that average.
    num_threads : int | None
        PyTorch threads of each worker; None: cores / workers, at least 1.
    start_method : Literal["forkserver", "spawn"]
        How workers start; "forkserver" has a process with all libraries in milliseconds, "spawn"
        in seconds. Brain and data are built after that, in both.
    report_every : int
        Of so many updates of the run one is reported to the parent, and logged.
    average_every : int
        Updates of all nodes' workers on this node between two averages over nodes.
    outer_momentum : float
        Momentum of these averages; 0: a plain mean.

    Raises
    ------
    ValueError
        If values are out of range; all faults at once.
    """

    num_workers: int = 2
    share_state: Literal["private", "second", "all"] = "private"
    lookahead: float = 1.0
    access: Literal["direct", "pull_push"] = "direct"
    lock: Literal["free", "flock"] = "free"
    staleness_power: float = 0.25
    drain: Literal["auto"] | bool = "auto"
    evaluation: Literal["beside", "instead"] = "beside"
    prefetch: int = 2
    max_restarts: int = 10
    worker_timeout_s: float | None = None
    on_timeout: Literal["error", "restart"] = "error"
    ema_decay: float | None = None
    ema_every: int = 10
    num_threads: int | None = None
    start_method: Literal["forkserver", "spawn"] = "forkserver"
    report_every: int = 50
    average_every: int = 64
    outer_momentum: float = 0.0

    def __post_init__(self) -> None:
        faults = [fault for is_good, fault in self._checks() if not is_good]
        if faults:
            raise ValueError("hogwild: " + "; ".join(faults) + ".")

    def _checks(self) -> list[tuple[bool, str]]:
        words = {
            "share_state": ("private", "second", "all"),
            "access": ("direct", "pull_push"),
            "lock": ("free", "flock"),
            "drain": ("auto", True, False),
            "evaluation": ("beside", "instead"),
            "on_timeout": ("error", "restart"),
            "start_method": ("forkserver", "spawn"),
        }
        counts = {"num_workers": 1, "prefetch": 1, "max_restarts": 0, "ema_every": 1}
        counts |= {"report_every": 1, "average_every": 1}
        found = [
            (getattr(self, name) in known, f"{name} is {getattr(self, name)!r}; expected {known}")
            for name, known in words.items()
        ]
        found += [
            (
                type(getattr(self, name)) is int and getattr(self, name) >= least,
                f"{name} is {getattr(self, name)!r}; expected an int >= {least}",
            )
            for name, least in counts.items()
        ]
        decay, threads, limit = self.ema_decay, self.num_threads, self.worker_timeout_s
        return [
            *found,
            (
                self.staleness_power >= 0,
                f"staleness_power is {self.staleness_power}; expected >= 0",
            ),
            (self.lookahead >= 0, f"lookahead is {self.lookahead}; expected >= 0"),
            (decay is None or 0 < decay < 1, f"ema_decay is {decay}; expected within (0, 1)"),
            (threads is None or threads >= 1, f"num_threads is {threads}; expected >= 1 or null"),
            (limit is None or limit > 0, f"worker_timeout_s is {limit}; expected > 0 or null"),
            (
                0 <= self.outer_momentum < 1,
                f"outer_momentum is {self.outer_momentum}; expected within [0, 1)",
            ),
        ]

    @property
    def is_drained(self) -> bool:
        """Whether workers rest for snapshots and validations."""
        return self.num_workers == 1 if self.drain == "auto" else bool(self.drain)

    @property
    def threads_per_worker(self) -> int:
        """PyTorch threads of each worker."""
        cores = len(os.sched_getaffinity(0))
        return self.num_threads or max(1, cores // self.num_workers)
