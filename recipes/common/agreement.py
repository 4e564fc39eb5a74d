"""What all ranks must agree on before they train: the data and their order."""

import hashlib
import json
import platform
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from recipes.common.distributed import gather_list


def plan_id(loader: Any) -> str:
    """Return a name of a loader's data and their order; it has not been iterated."""
    text = json.dumps(loader.state_dict(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def check_agreement(loaders: Mapping[str, Any]) -> None:
    """See that all ranks have the same data in the same order; every rank must call it.

    A rank that read another corpus, such as an old copy on its node's disk, would plan other
    batches, and nobody else would notice.

    Arguments
    ---------
    loaders : Mapping[str, Any]
        Use, such as "train", to a loader with ``state_dict()`` that was not iterated yet.

    Raises
    ------
    ValueError
        On every rank, if they differ; says who has what.
    """
    ranks = gather_list([(platform.node(), {use: plan_id(data) for use, data in loaders.items()})])
    faults = []
    for use in loaders:
        owners = defaultdict(list)
        for number, (node, plans) in enumerate(ranks):
            owners[plans[use]].append(f"{number} on {node}")
        if len(owners) > 1:
            shown = "; ".join(f"{plan}: ranks {', '.join(who)}" for plan, who in owners.items())
            faults.append(f"{use} ({shown})")
    if faults:
        raise ValueError(
            f"data: ranks plan different batches of {', '.join(faults)}; expected one corpus and "
            "equal options and versions everywhere; delete old copies of the corpus on the nodes, "
            "or give all ranks the same command."
        )
