"""A new run that starts from the parameters of another one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from speechbrain.utils.distributed import main_process_only
from speechbrain.utils.logger import get_logger

from recipes.common.averaging import average_best, average_neighbours
from recipes.common.checkpointer import StampedeCheckpointer
from recipes.common.module_states import mismatches

if TYPE_CHECKING:
    from recipes.common.brain import StampedeBrain

logger = get_logger(__name__)

Choice = Literal["tested", "best", "last"]


def start_from(brain: StampedeBrain, folder: Path, *, choice: Choice = "tested") -> None:
    """Give a Brain the parameters of another run, unless its own run has begun already.

    Optimizer, schedules, position in the data and everything else start anew. A run that was
    stopped goes on from its own checkpoint: then nothing is read here.

    Arguments
    ---------
    brain : StampedeBrain
        With a checkpointer; before ``on_fit_start``.
    folder : Path
        Output folder of the other run.
    choice : Choice
        Which of its checkpoints: ``tested``: what its tests used (the average, if this run's
        options ask for one); ``best``: the best by this run's ``valid_metric``; ``last``.

    Raises
    ------
    FileNotFoundError
        If the folder has no checkpoint.
    ValueError
        If they are of another model, or the choice is unknown.
    """
    if choice not in ("tested", "best", "last"):
        raise ValueError(
            f"init_choice: is {choice!r}; expected tested (the average), best, or last."
        )
    own = brain.checkpointer
    if own is None or main_process_only(lambda: bool(own.list_checkpoints()))():
        logger.info("The run has begun already: nothing is taken from %s.", folder)
        return
    place = folder / "checkpoints"
    if not place.is_dir():
        raise FileNotFoundError(
            f"init_folder: {place} is absent; expected the output folder of a run; train it first."
        )
    modules = {name: own.recoverables[name] for name in own.plain_modules()}
    options = brain.options
    key = {"min": "min_key", "max": "max_key"}[options.valid_mode]
    best_by = {} if choice == "last" else {key: options.valid_metric}
    average = average_neighbours if options.average_by == "time" else average_best
    num = options.average_best_of if choice == "tested" else 1
    states = average(StampedeCheckpointer(place, modules), modules, num, **best_by)
    faults = [f for name, module in modules.items() for f in mismatches(name, module, states[name])]
    if faults:
        listed = "\n".join(f"- {fault}" for fault in faults)
        raise ValueError(
            f"init_folder: {folder} is of another model:\n{listed}\nexpected the model of this "
            "YAML; give its sizes and tokenizer."
        )
    for name, module in modules.items():
        module.load_state_dict(states[name])
    logger.info("The run starts from the parameters of %s (%s).", folder, choice)
