"""Asynchronous training: the one function that starts it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hogwild.items import EpochItems, Item
from hogwild.nodes import Nodes
from hogwild.options import HogwildOptions
from hogwild.protocols import Batches, Trainee
from hogwild.session import Session
from hogwild.snapshot import HogwildState
from hogwild.watching import ended_by_sigterm


def fit(  # noqa: PLR0913 - the parts of a run, all by keyword
    brain: Any,
    options: HogwildOptions,
    *,
    factory: Callable[..., Trainee],
    arguments: Callable[[], tuple[Any, ...]],
    batches: Batches,
    epochs: Any,
    valid_set: Any = None,
    batches_per_epoch: int | None = None,
    plan_id: str = "",
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    on_progress: Callable[[dict[str, float]], None] | None = None,
    validate_average: Callable[[Any, int], None] | None = None,
    on_note: Callable[[Item, Any], None] | None = None,
) -> dict[str, Any]:
    """Train a Brain by workers until its epochs, its limit in updates or its patience end.

    Arguments
    ---------
    brain : Any
        See :class:`hogwild.protocols.Brain`; recovers from its checkpoint, validates, saves.
    options : HogwildOptions
        How.
    factory : Callable[..., Trainee]
        Called in each worker with its number and `arguments`; a function of a module.
    arguments : Callable[[], tuple[Any, ...]]
        Gives plain values for the factory; called when the Brain has recovered.
    batches : Batches
        The same data as the workers', for its numbers of batches.
    epochs : Any
        SpeechBrain's EpochCounter.
    valid_set : Any
        Validation data, or None.
    batches_per_epoch : int | None
        Length of a nominal epoch, in batches of all workers together.
    plan_id : str
        Names the data and their order; a checkpoint of another one, or of another
        `batches_per_epoch`, is refused.
    on_epoch : Callable[[dict[str, Any]], None] | None
        Called with figures of the workers when an epoch is complete.
    on_progress : Callable[[dict[str, float]], None] | None
        Called at every report, in a thread of its own, with counts that grow: see
        :meth:`hogwild.counters.Counters.progress`.
    validate_average : Callable[[Any, int], None] | None
        Called with validation data and epoch while the Brain has the average of the parameters,
        if ``ema_decay`` is set.
    on_note : Callable[[Item, Any], None] | None
        Called with each batch of which a worker's :attr:`Trainee.note` tells something, and that,
        in a thread of its own; again if the batch is given out again. An exception ends the run.

    Returns
    -------
    dict of str to Any
        Figures of the workers since the run began, also if there was nothing left to do.

    Raises
    ------
    ValueError
        If the checkpoint does not fit the data, or is the plain trainer's from mid-epoch.
    """
    nodes = Nodes(brain.options.distributed_timeout_s)
    if batches_per_epoch is not None:  # it decides where an epoch begins
        plan_id = f"{plan_id}, {batches_per_epoch} batches an epoch"
    state = HogwildState(plan_id, nodes)
    if brain.checkpointer is not None:
        brain.checkpointer.add_recoverable("hogwild", state, optional_load=True)
    brain._wrap_distributed = lambda: None  # several nodes average, they do not wait (DDP)
    brain.on_fit_start()
    _refuse_open_epoch(brain, state)
    part = (nodes.rank, nodes.size)
    items = EpochItems(batches.num_batches, batches_per_epoch=batches_per_epoch, part=part)
    with ended_by_sigterm(), Session(brain, options, items, state=state) as session:
        session.on_epoch, session.on_progress = on_epoch, on_progress
        session.validate_average = validate_average
        session.on_note = on_note or session.on_note
        session.begin(factory, arguments())
        session.run(epochs, valid_set)
        return session.figures()


def _refuse_open_epoch(brain: Any, state: HogwildState) -> None:
    # It does not tell the workers which batches of the epoch it has used.
    if state.loaded is None and brain.step:
        raise ValueError(
            f"hogwild: the checkpoint is the plain trainer's, {brain.step} batches after an "
            "epoch's beginning; expected one from an epoch's end, as workers would train on these "
            "batches again; finish the epoch with train.py, or start in a new output folder."
        )
