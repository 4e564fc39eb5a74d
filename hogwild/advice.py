"""Settings that asynchronous training is known to bear badly: told once, before it starts."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

import torch
from torch import nn
from torch.optim import Optimizer

from hogwild.options import HogwildOptions

logger = logging.getLogger(__name__)


def warn(modules: nn.Module, optimizers: Iterable[Optimizer], options: HogwildOptions) -> None:
    """Log what is likely to go wrong with these options."""
    for advice in hints(modules, list(optimizers), options):
        logger.warning("hogwild: %s", advice)


def hints(
    modules: nn.Module, optimizers: list[Optimizer], options: HogwildOptions
) -> Iterator[str]:
    """Yield what is likely to go wrong.

    Asynchrony acts like momentum by itself (Mitliagkas et al. 2016); plain SGD on recurrent models
    with sharp losses breaks from about 4 workers on.

    Arguments
    ---------
    modules : nn.Module
        Of the Brain.
    optimizers : list[Optimizer]
        Of the Brain.
    options : HogwildOptions
        How many workers, and whether they look ahead.

    Yields
    ------
    str
        One sentence each.
    """
    is_recurrent = any(isinstance(module, nn.RNNBase) for module in modules.modules())
    sgd = [optimizer for optimizer in optimizers if isinstance(optimizer, torch.optim.SGD)]
    momentum = max((o.defaults["momentum"] for o in sgd), default=0.0)
    num_workers = options.num_workers
    if num_workers > 1 and momentum > 0.5 and not options.lookahead:
        yield f"SGD with momentum {momentum:g} bears stale gradients badly; 0.5 costs little."
    if num_workers > 2 and sgd and is_recurrent:
        yield f"SGD on a recurrent model with {num_workers} workers may diverge; Adam holds to 4."
