"""What asynchronous training changes of an optimizer's step: its rates and its memory."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam, Optimizer


def warm_up(optimizers: Iterable[Optimizer]) -> None:
    """Take a step with a small optimizer of each kind: the first one in a process is slow.

    The time between a step and its count must be short, as a death in it repeats the batch.
    """
    for optimizer in optimizers:
        known = inspect.signature(type(optimizer)).parameters
        options = {key: value for key, value in optimizer.defaults.items() if key in known}
        param = torch.nn.Parameter(torch.zeros(1))
        param.grad = torch.zeros(1)
        kind: Any = type(optimizer)
        kind([param], **options).step()


def shorten_moments(optimizers: Iterable[Optimizer], *, num_workers: int, share_state: str) -> None:
    """Raise the betas of moments that a worker has alone to the power of the number of workers.

    A worker sees every p-th update, so its moments decay as much in one of its updates as those of
    a single process would in p; what all share is updated by all already.

    Arguments
    ---------
    optimizers : Iterable[Optimizer]
        Their groups are changed; those without ``betas`` stay as they are.
    num_workers : int
        p.
    share_state : str
        "private": both betas change; "second": the first; "all": none.
    """
    powers = {"private": (num_workers, num_workers), "second": (num_workers, 1), "all": (1, 1)}
    for group in groups_of(optimizers):
        if "betas" in group:
            group["betas"] = tuple(
                beta**power for beta, power in zip(group["betas"], powers[share_state], strict=True)
            )


@torch.no_grad()
def follow_gradients(optimizers: Iterable[Adam]) -> None:
    """Take the last step of Adam again, with the gradients in place of their running means.

    theta <- theta - rate * g / (sqrt(v) + eps), v being free of its bias. A step at (1 - f) times
    the rate and this one at f times the rate are together the quasi-hyperbolic step of Ma and
    Yarats (2019, https://arxiv.org/abs/1810.06801, algorithm 2) with nu_1 = 1 - f and nu_2 = 1.

    Arguments
    ---------
    optimizers : Iterable[Adam]
        Adam or AdamW, just after their step; gradients are still there.
    """
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for param in group["params"]:
                if param.grad is not None:
                    _follow_gradient(param, optimizer.state[param], group)


def _follow_gradient(param: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
    rate, decay = group["lr"], group["weight_decay"]
    gradient = -param.grad if group["maximize"] else param.grad
    if group["decoupled_weight_decay"]:
        param.mul_(1 - rate * decay)
    elif decay:
        gradient = gradient.add(param, alpha=decay)
    squares = state["max_exp_avg_sq" if group["amsgrad"] else "exp_avg_sq"]
    known = 1 - group["betas"][1] ** float(state["step"])
    param.addcdiv_(gradient, squares.div(known).sqrt_().add_(group["eps"]), value=-rate)


def groups_of(optimizers: Any) -> list[dict[str, Any]]:
    """Return the parameter groups of all optimizers."""
    return [group for optimizer in optimizers for group in optimizer.param_groups]


@contextmanager
def scaled_rates(optimizers: list[Any], factor: float) -> Iterator[None]:
    """Multiply all learning rates by a factor inside the block."""
    if factor == 1.0:
        yield
        return
    groups = groups_of(optimizers)
    before = [group["lr"] for group in groups]
    for group in groups:
        group["lr"] = group["lr"] * factor
    try:
        yield
    finally:
        for group, rate in zip(groups, before, strict=True):
            group["lr"] = rate
