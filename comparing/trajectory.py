"""One arm in one unit of a comparison of precisions: a Brain that trains in turns, and is timed."""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from speechbrain import Stage

from comparing.arms import Arm
from recipes.common import loops
from recipes.common.brain import StampedeBrain
from recipes.common.rng import rng_state, set_rng_state

MIB = 2.0**20


class Clock:
    """Seconds of the wall and of the processor, and sleep; tests have another one."""

    def wall_s(self) -> float:
        """Return the time."""
        return time.perf_counter()

    def cpu_s(self) -> float:
        """Return the processor time of all threads of this process."""
        return time.process_time()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


class Trajectory:
    """Trains one Brain on given batches, whenever it is its turn.

    Between its turns another arm trains in the same process: random streams are put back at the
    start of a turn, so that dropout is the same as if it had been alone.

    Arguments
    ---------
    arm : Arm
        Precision and switches.
    brain : StampedeBrain
        Built with the arm's precision; not started.
    batches : Sequence[Any]
        On the Brain's device; gone through again and again, in the same order. They are copied
        before each step, so that none is changed.
    clock : Clock
        Measures.

    Attributes
    ----------
    wall_ms, cpu_ms : list of float
        Of each timed step.
    losses : list of float
        Mean loss of every attempted update.
    saved_mib : float or None
        What one update kept for its backward pass, parameters not counted.
    peak_mib : float or None
        Highest memory of the device in the arm's turns, what is not the arm's (data, other arms)
        taken off; None on a CPU.
    """

    def __init__(
        self, arm: Arm, brain: StampedeBrain, batches: Sequence[Any], *, clock: Clock
    ) -> None:
        self.arm, self.brain, self._clock = arm, brain, clock
        self._batches: Iterator[Any] = itertools.cycle(batches)
        self.wall_ms: list[float] = []
        self.cpu_ms: list[float] = []
        self.losses: list[float] = []
        self.saved_mib: float | None = None
        self.peak_mib: float | None = None
        self.updates_to_target: int | None = None
        self.is_cuda = str(brain.device).startswith("cuda")
        with arm.switches():
            brain.on_fit_start()
            self._enter_training()
            brain.modules.zero_grad(set_to_none=True)
            brain.start_epoch(num_batches=None)
        self._rng = rng_state()

    def run(self, num_steps: int, *, is_timed: bool) -> None:
        """Attempt some updates; note their times if asked to.

        Arguments
        ---------
        num_steps : int
            Updates, applied or skipped.
        is_timed : bool
            Whether their times count.
        """
        with self._turn():
            for _ in range(num_steps):
                wall_ms, cpu_ms = self._step()
                if is_timed:
                    self.wall_ms.append(wall_ms)
                    self.cpu_ms.append(cpu_ms)

    def run_until(self, num_updates: int) -> None:
        """Train until so many updates were applied; skipped ones do not count."""
        with self._turn():
            while self.brain.optimizer_step < num_updates:
                self._step()

    def run_to_target(
        self,
        valid_set: Any,
        *,
        num_updates: int,
        every: int,
        is_reached: Callable[[dict[str, float]], bool],
    ) -> None:
        """Train until so many updates were applied; validate on the way until a target is reached.

        Arguments
        ---------
        valid_set : Any
            Validation data.
        num_updates : int
            Where the training ends, in any case.
        every : int
            Updates between two validations; the first one is now.
        is_reached : Callable[[dict[str, float]], bool]
            Told the figures of a validation.
        """
        for mark in [*range(self.brain.optimizer_step, num_updates, every), num_updates]:
            self.run_until(mark)
            if is_reached(self.evaluate(valid_set)):
                self.updates_to_target = mark
                break
        self.run_until(num_updates)

    def weigh(self) -> None:
        """Attempt one update and note what it keeps for the backward pass, MiB."""
        sizes: dict[int, int] = {}
        own = {param.untyped_storage().data_ptr() for param in self.brain.modules.parameters()}

        def note(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                sizes[storage.data_ptr()] = storage.nbytes()
            return tensor

        with self._turn(), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            self._step()
        self.saved_mib = sum(sizes.values()) / MIB

    def evaluate(self, valid_set: Any) -> dict[str, float]:
        """Return the figures of validation, computed in float32 whatever the arm."""
        with Arm("evaluation", "fp32").switches():
            loops.run_stage(self.brain, valid_set, Stage.VALID, epoch=1, show=False)
        self._enter_training()
        results = self.brain.results
        return {
            name: float(results[name])
            for name in self.brain.valid_figures
            if results.get(name) is not None
        }

    def figures(self) -> dict[str, Any]:
        """Return what was counted: plain JSON values."""
        scaler = self.brain.scaler
        return {
            "wall_ms": self.wall_ms,
            "cpu_ms": self.cpu_ms,
            "losses": self.losses,
            "updates": self.brain.optimizer_step,
            "skipped": self.brain.nonfinite.num_skipped,
            "final_scale": scaler.get_scale() if scaler.is_enabled() else None,
            "saved_mib": self.saved_mib,
            "peak_mib": self.peak_mib,
            "updates_to_target": self.updates_to_target,
        }

    def _enter_training(self) -> None:
        self.brain.on_stage_start(Stage.TRAIN, 1)
        self.brain.modules.train()

    def _step(self) -> tuple[float, float]:
        """Attempt an update; return its wall and processor time in ms."""
        num = self.brain.grad_accumulation_factor
        batches = [copy.deepcopy(batch) for batch in itertools.islice(self._batches, num)]
        self._wait()
        wall_s, cpu_s = self._clock.wall_s(), self._clock.cpu_s()
        found = [self.brain.fit_batch(batch) for batch in batches]
        if self.arm.delay_s:
            self._clock.sleep(self.arm.delay_s)
        self._wait()
        times = self._clock.wall_s() - wall_s, self._clock.cpu_s() - cpu_s
        count = sum(loss.count for loss in found)
        self.losses.append(float(sum(loss.total for loss in found)) / max(count, 1))
        return 1000.0 * times[0], 1000.0 * times[1]

    def _wait(self) -> None:
        """Wait for the device: its work is not done when a call returns."""
        if self.is_cuda:
            torch.cuda.synchronize(self.brain.device)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Take the arm's switches and random streams; note the memory that it needs."""
        device = self.brain.device
        with self.arm.switches():
            set_rng_state(self._rng)
            others = 0
            if self.is_cuda:
                torch.cuda.reset_peak_memory_stats(device)
                others = torch.cuda.memory_allocated(device) - self.own_bytes()
            yield
            self._rng = rng_state()
            if self.is_cuda:
                peak = (torch.cuda.max_memory_allocated(device) - others) / MIB
                self.peak_mib = max(self.peak_mib or 0.0, peak)

    def own_bytes(self) -> int:
        """Return the bytes of parameters, buffers, gradients and optimizer states."""
        tensors: list[Any] = [*self.brain.modules.parameters(), *self.brain.modules.buffers()]
        tensors += [param.grad for param in self.brain.modules.parameters()]
        for optimizer in (self.brain.optimizers_dict or {}).values():
            tensors += [value for state in optimizer.state.values() for value in state.values()]
        on_device = [t for t in tensors if isinstance(t, torch.Tensor) and t.is_cuda]
        return sum(tensor.numel() * tensor.element_size() for tensor in on_device)
