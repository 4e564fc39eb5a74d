"""What follows a validation, and how its best checkpoint is loaded again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from speechbrain.core import INTRA_EPOCH_CKPT_FLAG
from speechbrain.utils.checkpoints import Checkpoint
from speechbrain.utils.logger import get_logger

from recipes.common.averaging import average_best, average_neighbours
from recipes.common.early_stopping import is_better
from recipes.common.schedule import ValidSchedule

if TYPE_CHECKING:
    from recipes.common.brain import StampedeBrain

logger = get_logger(__name__)


def finish_validation(
    brain: StampedeBrain, stats: Mapping[str, float], *, epoch: int, meta: Mapping[str, Any]
) -> None:
    """Set the rate, note early stopping and the target, save; see the Brain's method."""
    options = brain.options
    if options.valid_metric not in stats:
        raise ValueError(
            f"valid_metric: {options.valid_metric!r} is not among the validation statistics "
            f"{sorted(stats)}; expected one of these."
        )
    if stats[options.valid_metric] is None:
        raise ValueError(
            f"valid_metric: {options.valid_metric!r} has no value, since the references of the "
            "validation set are empty; expected text; mend the corpus, or take another metric."
        )
    metric = float(stats[options.valid_metric])
    if options.valid_schedule is not None and brain.optimizers_dict:
        optimizers = list(brain.optimizers_dict.values())
        ValidSchedule(options.valid_schedule).set_rates(optimizers, epoch=epoch, metric=metric)
    if options.early_stopping is not None:
        options.early_stopping.update({"train_loss": brain.train_loss, **stats})
    if options.target_value is not None:
        misses = is_better(options.target_value, metric, mode=options.valid_mode)
        brain.clock.note_target(is_reached=metric == metric and not misses)
    if brain.checkpointer is not None:
        _save(brain, stats, epoch=epoch, meta=meta)


def _save(
    brain: StampedeBrain, stats: Mapping[str, float], *, epoch: int, meta: Mapping[str, Any]
) -> None:
    options = brain.options
    which = "min_keys" if options.valid_mode == "min" else "max_keys"
    brain.checkpointer.save_and_keep_only(
        meta={"epoch": epoch, "updates": brain.optimizer_step, **meta, **stats},
        # An epoch cut by the update limit goes on where it stopped if the limit is raised.
        end_of_epoch=not brain.epoch_is_open,
        num_to_keep=options.num_to_keep,
        importance_keys=[_nearness(brain)] if options.average_by == "time" else [],
        **{which: [options.valid_metric]},
    )
    # A save in mid-epoch that was killed before it deleted its forerunner left two of them.
    brain.checkpointer.delete_checkpoints(
        num_to_keep=1, ckpt_predicate=lambda ckpt: INTRA_EPOCH_CKPT_FLAG in ckpt.meta
    )


def _nearness(brain: StampedeBrain) -> Callable[[Checkpoint], float]:
    """Return how near a checkpoint is to the best one: its neighbours are kept for the average."""
    options = brain.options

    @cache
    def best_updates() -> float:
        key = {f"{options.valid_mode}_key": options.valid_metric}
        best = brain.checkpointer.find_checkpoint(**key)
        return float(best.meta["updates"]) if best is not None else 0.0

    return lambda ckpt: -abs(float(ckpt.meta.get("updates", 0)) - best_updates())


def load_best(brain: StampedeBrain, *, max_key: str | None, min_key: str | None) -> None:
    """Load the modules of the best good checkpoint, averaged if asked for.

    Arguments
    ---------
    brain : StampedeBrain
        Whose modules are loaded.
    max_key : str | None
        Statistic that chooses the checkpoint with its highest value.
    min_key : str | None
        Statistic that chooses it with its lowest; both None: ``valid_metric``.

    Raises
    ------
    FileNotFoundError
        If the run only tests and there is no checkpoint.
    """
    if brain.checkpointer is None:
        return
    options = brain.options
    if max_key is None and min_key is None:
        max_key = options.valid_metric if options.valid_mode == "max" else None
        min_key = options.valid_metric if options.valid_mode == "min" else None
    chosen = brain.checkpointer.recover_modules(max_key=max_key, min_key=min_key)
    if chosen is None:
        if brain.test_only:
            raise FileNotFoundError(
                f"test_only: no checkpoint with {min_key or max_key!r} in "
                f"{brain.checkpointer.checkpoints_dir}; expected one; train first."
            )
        logger.warning("No checkpoint with %r: the current weights are tested.", min_key or max_key)
        return
    if options.average_best_of > 1:
        names = brain.checkpointer.plain_modules()
        average = average_neighbours if options.average_by == "time" else average_best
        averaged = average(
            brain.checkpointer, names, options.average_best_of, min_key=min_key, max_key=max_key
        )
        for name, state in averaged.items():
            brain.checkpointer.recoverables[name].load_state_dict(state)
