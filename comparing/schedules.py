"""Whether the ways made as many updates as their schedules count on."""

from __future__ import annotations

import json
from statistics import median

from comparing.groups import Group, Groups
from comparing.options import Comparison
from comparing.ways import ways_of

TOLERANCE = 0.05


def schedule_warnings(what: Comparison, groups: Groups) -> list[str]:
    """Return what a reader must know of schedules that end too early or too late.

    A way with another batch than one process plans other updates for the same utterances than its
    share says: longer utterances leave less room in a smaller batch. Ways with the comparison's own
    batch are the measure.

    Arguments
    ---------
    what : Comparison
        Its schedule and what it counts on.
    groups : Groups
        All runs.

    Returns
    -------
    list of str
        One sentence per group with ways that are more than 5 % off.
    """
    if not what.schedule:
        return []
    told = []
    for (variant, budget), group in groups.items():
        off = {
            way: made
            for way, made in relative_updates(what, group).items()
            if abs(made / what.updates_of(way) - 1.0) > TOLERANCE
        }
        if off:
            each = [f"{way} made {n:.3g}, not {what.updates_of(way):g}" for way, n in off.items()]
            needed = {**what.updates, **{way: float(f"{made:.3g}") for way, made in off.items()}}
            told.append(
                f"schedules ({variant}, {budget}) end at another share of the training than that "
                f"of one process, whose updates per utterance are 1: {'; '.join(each)}; run again "
                f"with --comparison.updates '{json.dumps(needed)}'"
            )
    return told


def relative_updates(what: Comparison, group: Group) -> dict[str, float]:
    """Return way -> its updates per utterance, relative to one process; medians over seeds.

    Arguments
    ---------
    what : Comparison
        Its ways.
    group : Group
        Runs with one budget. Without one of a way that has the comparison's own batch there is
        nothing to compare with.

    Returns
    -------
    dict of str to float
        Of the ways that have a run with updates.
    """
    made = {}
    for way, own in group.records.items():
        runs = [record.run for record in own.values() if record.run["utterances_trained"]]
        if runs:
            made[way] = median(run["updates"] / run["utterances_trained"] for run in runs)
    ways = ways_of(what.processes)
    measures = [made[way] / ways[way].updates for way in made if ways[way].batch == 1.0]
    one = median(measures) if measures else 0.0
    return {way: number / one for way, number in made.items()} if one else {}
