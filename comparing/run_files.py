"""What the run files of a comparison say themselves, and which options their ways need."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from comparing.options import Comparison
from comparing.ways import Way
from recipes.common.yaml_tree import read_source

ROOT = Path(__file__).resolve().parent.parent
COUNTED = ("num_warmup", "num_hold", "num_decay")
"""Arguments of schedules that are counted in updates."""


@cache
def keys_of(run_file: str, *, has_data_folder: bool) -> Mapping[str, Any]:
    """Return the top-level keys of the run file that a command loads.

    Arguments
    ---------
    run_file : str
        As the command names it, from the project's root.
    has_data_folder : bool
        Whether the command gives `data_folder`, with which some run files name another one.

    Returns
    -------
    Mapping[str, Any]
        Key -> plain value, or a node of the YAML where the value follows from others.

    Raises
    ------
    ValueError
        If a file is missing or no YAML.
    """
    source = read_source(ROOT / run_file)
    if has_data_folder and source.with_data_folder is not None:
        source = read_source(source.path.parent / source.with_data_folder)
    return source.tree


def counted_in_updates(keys: Mapping[str, Any]) -> list[str]:
    """Return the dotted keys of a run file that give its schedule a number of updates."""
    schedule = keys.get("update_schedule")
    nested = schedule if isinstance(schedule, Mapping) else {}
    found = [name for name in COUNTED if isinstance(keys.get(name), int)]
    found += [f"update_schedule.{name}" for name in COUNTED if isinstance(nested.get(name), int)]
    return found


def scaled(what: Comparison, way: Way, run_file: str, *, has_data_folder: bool) -> dict[str, Any]:
    """Return the options that follow from a way's batch and updates, unless the run file has them.

    Arguments
    ---------
    what : Comparison
        Its batch and schedule.
    way : Way
        Its share of them.
    run_file : str
        Of the way.
    has_data_folder : bool
        See `keys_of`.

    Returns
    -------
    dict of str to Any
        Option -> value.

    Raises
    ------
    ValueError
        If the run file counts something in updates that the schedule does not have.
    """
    keys = keys_of(run_file, has_data_folder=has_data_folder)
    updates = what.updates_of(way.name)
    lacking = [key for key in counted_in_updates(keys) if key not in what.schedule]
    if lacking and updates != 1.0:
        raise ValueError(
            f"comparison: schedule lacks {lacking}, which {run_file} counts in updates, and "
            f"{way.name} makes {updates:g} times the updates of one process; expected them in "
            "it, with the values of one process."
        )
    options: dict[str, Any] = {
        key: max(1, round(value * updates)) for key, value in what.schedule.items()
    }
    batch = what.batch * way.batch
    if keys.get(what.batch_key) != batch:
        options[what.batch_key] = batch
    return options
