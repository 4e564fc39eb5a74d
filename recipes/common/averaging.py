"""Averages of checkpoints: the N best, or the best one and its neighbours in time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from speechbrain.utils.checkpoints import PARAMFILE_EXT, Checkpoint
from speechbrain.utils.logger import get_logger
from torch import Tensor

from recipes.common.checkpoint_files import is_rankable
from recipes.common.checkpointer import StampedeCheckpointer
from recipes.common.module_states import read_module_state

logger = get_logger(__name__)


def average_best(
    checkpointer: StampedeCheckpointer,
    names: Iterable[str],
    num: int,
    *,
    min_key: str | None = None,
    max_key: str | None = None,
) -> dict[str, dict[str, Tensor]]:
    """Average modules over the best good checkpoints (fewer if there are fewer).

    Floating-point values are averaged in float64 and cast back; others (counters, masks) come
    from the newest of the checkpoints.

    Arguments
    ---------
    checkpointer : StampedeCheckpointer
        Where the checkpoints are.
    names : Iterable[str]
        Recoverables that are modules.
    num : int
        Checkpoints wanted; > 0.
    min_key : str | None
        Statistic that ranks them, lowest first.
    max_key : str | None
        Statistic that ranks them, highest first; both None: the newest.

    Returns
    -------
    dict
        State dict by name.

    Raises
    ------
    FileNotFoundError
        If there is no checkpoint.
    ValueError
        If the checkpoints are of different models.
    """
    names = list(names)
    chosen = checkpointer.find_good(names=names, limit=num, min_key=min_key, max_key=max_key)
    if not chosen:
        raise FileNotFoundError(
            f"average_best: no checkpoint with {min_key or max_key!r} in "
            f"{checkpointer.checkpoints_dir}; expected one; train first."
        )
    if len(chosen) < num:
        logger.warning("average_best: averages %d checkpoints, not %d", len(chosen), num)
    return _average_all(names, chosen)


def average_neighbours(
    checkpointer: StampedeCheckpointer,
    names: Iterable[str],
    num: int,
    *,
    min_key: str | None = None,
    max_key: str | None = None,
) -> dict[str, dict[str, Tensor]]:
    """Average modules over the best good checkpoint and those right before and after it.

    Only those that can be ranked are among them: others were saved within an epoch, not validated.
    With an even number there is one more before than after; at the ends of a run there are fewer.

    Arguments
    ---------
    checkpointer : StampedeCheckpointer
        Where the checkpoints are.
    names : Iterable[str]
        Recoverables that are modules.
    num : int
        Checkpoints wanted; > 0.
    min_key : str | None
        Statistic whose lowest value is the centre.
    max_key : str | None
        Statistic whose highest value is the centre; both None: the newest is.

    Returns
    -------
    dict
        State dict by name, see `average_best`.

    Raises
    ------
    FileNotFoundError
        If there is no checkpoint.
    """
    names = list(names)
    key = min_key or max_key
    newest_first = checkpointer.find_good(
        names=names, ckpt_predicate=lambda ckpt: key is None or is_rankable(ckpt.meta, key)
    )
    in_time = newest_first[::-1]
    best = checkpointer.find_good(names=names, limit=1, min_key=min_key, max_key=max_key)
    if not best:
        raise FileNotFoundError(
            f"average_neighbours: no checkpoint with {key!r} in "
            f"{checkpointer.checkpoints_dir}; expected one; train first."
        )
    centre = [ckpt.path for ckpt in in_time].index(best[0].path)
    first = max(0, centre - num // 2)
    chosen = in_time[first : centre + (num - 1) // 2 + 1]
    if len(chosen) < num:
        logger.warning("average_neighbours: averages %d checkpoints, not %d", len(chosen), num)
    return _average_all(names, chosen)


def _average_all(names: list[str], chosen: list[Checkpoint]) -> dict[str, dict[str, Tensor]]:
    logger.info("Averaging %s", ", ".join(ckpt.path.name for ckpt in chosen))
    newest_first = sorted(chosen, key=lambda ckpt: ckpt.meta["unixtime"], reverse=True)
    return {name: _average(name, newest_first) for name in names}


def _average(name: str, checkpoints: list[Checkpoint]) -> dict[str, Tensor]:
    newest = read_module_state(_file(checkpoints[0], name))
    sums = {key: value.double() for key, value in newest.items() if _is_float(value)}
    for ckpt in checkpoints[1:]:
        state = read_module_state(_file(ckpt, name))
        if {k: v.shape for k, v in state.items()} != {k: v.shape for k, v in newest.items()}:
            raise ValueError(
                f"average_best: {name} of {ckpt.path.name} and {checkpoints[0].path.name} have "
                "other keys or shapes; expected one model; give each model its own output_folder."
            )
        for key, total in sums.items():
            total += state[key].double()
    means = {k: (v / len(checkpoints)).to(newest[k].dtype) for k, v in sums.items()}
    return {**newest, **means}


def _file(ckpt: Checkpoint, name: str) -> Any:
    return ckpt.path / (name + PARAMFILE_EXT)


def _is_float(value: Tensor) -> bool:
    return torch.is_floating_point(value)
