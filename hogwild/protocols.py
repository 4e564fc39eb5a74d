"""What asynchronous training asks of a Brain and of data: the rest is the Brain's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from torch import nn


class Clock(Protocol):
    """Counts the seconds of parts of a run."""

    def running(self, part: Any) -> AbstractContextManager[None]:
        """Count the time inside a block."""


class Brain(Protocol):
    """`recipes.common.brain.StampedeBrain` and what is like it.

    ``fit_batch(batch)`` calls ``on_fit_batch_start(batch, should_step)`` just before the forward
    pass, computes gradients, and calls ``optimizers_step()`` when a group of micro-batches is
    complete, which calls ``apply_update(optimizers)`` unless it skips the update, and at last
    ``on_update_end(report)``. All but the first are wrapped on the object.
    """

    options: Any  # at least distributed_timeout_s
    modules: nn.Module
    optimizers_dict: dict[str, Any] | None
    optimizer_step: int
    num_utterances: int
    step: int
    train_sums: list[Any]
    train_loss: float
    epoch_is_open: bool
    clock: Any
    checkpointer: Any
    update_schedule: Any
    nonfinite: Any
    grad_accumulation_factor: int
    optimizer_step_limit: int | None
    noprogressbar: bool
    fit_batch: Callable[[Any], Any]
    on_fit_batch_start: Callable[[Any, bool], None]
    optimizers_step: Callable[[], None]
    apply_update: Callable[[list[Any]], None]
    on_update_end: Callable[[Any], None]
    on_stage_start: Callable[..., None]
    on_stage_end: Callable[..., None]
    on_fit_start: Callable[[], None]
    init_optimizers: Callable[[], None]
    start_epoch: Callable[..., None]
    end_epoch: Callable[[int], None]
    is_finished: bool
    is_out_of_time: bool
    must_stop: bool
    stop_file: Any
    end_run: Callable[[], None]
    seconds_left: float


class Batches(Protocol):
    """A plan of batches that can be read by number, such as `data_prepare.stream.ShardLoader`."""

    def num_batches(self, pass_number: int = 0) -> int:
        """Return the batches of a pass."""

    def fetch(self, number: int, *, pass_number: int = 0) -> Any:
        """Return a batch, read here and now."""


class EpochCounter(Protocol):
    """SpeechBrain's: gives epochs, and knows the last one."""

    limit: int
    current: int

    def __iter__(self) -> Iterable[int]:
        """Give the epochs to come."""


def _nothing(batch: Any) -> None:
    del batch


@dataclass(frozen=True)
class Trainee:
    """What a worker trains with; made in the worker by a function that the parent names.

    Arguments
    ---------
    brain : Any
        A :class:`Brain` built like the parent's; without checkpointer and logs.
    batches : Batches
        The training data.
    seed : Callable[[int], None]
        Seeds all random streams of the process from the run's seed and a number.
    rng_state : Callable[[], Any]
        Returns the state of these streams.
    set_rng_state : Callable[[Any], None]
        Puts them back.
    extent : Callable[[Any], tuple[float, float]] | None
        From a batch to how much it holds, without and with padding; None: not counted.
    note : Callable[[Any], Any]
        From a batch, before it is trained on, to what the parent shall know of it; None: nothing.
    """

    brain: Any
    batches: Batches
    seed: Callable[[int], None]
    rng_state: Callable[[], Any]
    set_rng_state: Callable[[Any], None]
    extent: Callable[[Any], tuple[float, float]] | None = None
    note: Callable[[Any], Any] = _nothing
