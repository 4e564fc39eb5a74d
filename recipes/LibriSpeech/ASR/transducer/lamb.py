"""LAMB for large batches, all tensors at once.

Y. You et al. 2020, "Large batch optimization for deep learning: training BERT in 76 minutes",
https://arxiv.org/abs/1904.00962, algorithm 2, with the choices of the benchmark: bias correction,
decoupled weight decay, the trust ratio unbounded and applied to every tensor, biases too.

For a gradient g at update k, with m and v the moving averages of g and g^2,

    u = (m / (1 - b1^k)) / (sqrt(v / (1 - b2^k)) + eps) + weight_decay * w
    w = w - lr * r * u,    r = |w| / |u|, or 1 where either is zero.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class LAMB(Optimizer):
    """LAMB over the whole list of tensors; see the module.

    The trainer clips gradients by their joint norm (the benchmark: to 1.0) before; `max_norm` does
    so here, for use elsewhere.

    Arguments
    ---------
    params : Iterable[Tensor] | Iterable[dict[str, Any]]
        Parameters or groups.
    lr : float
        Learning rate.
    betas : tuple[float, float]
        Decays of the averages of gradients and of their squares.
    eps : float
        Added to the root.
    weight_decay : float
        Factor of the parameters in the update.
    max_norm : float | None
        Bound of the joint norm of all gradients; larger ones are scaled to it. None: none.
    foreach : bool
        False: tensor by tensor, the slow way that the fast one is compared with.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-9,
        weight_decay: float = 1e-3,
        max_norm: float | None = None,
        foreach: bool = True,
    ) -> None:
        rules = {
            f"lr is {lr}; expected >= 0": lr >= 0,
            f"betas are {tuple(betas)}; expected two within [0, 1)": all(0 <= b < 1 for b in betas),
            f"eps is {eps}; expected > 0": eps > 0,
            f"weight_decay is {weight_decay}; expected >= 0": weight_decay >= 0,
            f"max_norm is {max_norm}; expected > 0 or null": max_norm is None or max_norm > 0,
        }
        faults = [fault for fault, holds in rules.items() if not holds]
        if faults:
            raise ValueError(f"LAMB: {'; '.join(faults)}.")
        self.max_norm, self.foreach = max_norm, foreach
        defaults = {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Do one update; nothing is read from the device."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if self.max_norm is not None:
            self._clip(self.max_norm)
        for group in self.param_groups:
            params = [param for param in group["params"] if param.grad is not None]
            if params:
                self._step_group(group, params)
        return loss

    def _clip(self, max_norm: float) -> None:
        grads = [p.grad for g in self.param_groups for p in g["params"] if p.grad is not None]
        if grads:
            norm = torch.nn.utils.get_total_norm(grads)
            torch._foreach_div_(grads, (norm / max_norm).clamp(min=1.0))

    def _step_group(self, group: dict[str, Any], params: list[Tensor]) -> None:
        for param in params:
            state = self.state[param]
            if not state:
                state["step"] = torch.zeros((), dtype=torch.float32)  # on the CPU
                state["exp_avg"] = torch.zeros_like(param)
                state["exp_avg_sq"] = torch.zeros_like(param)
            state["step"] += 1
        # One number a group: parameters of a group are always updated together.
        number = int(self.state[params[0]]["step"])
        lists = [params] if self.foreach else [[param] for param in params]
        for part in lists:
            update(
                part,
                [param.grad for param in part if param.grad is not None],
                [self.state[param]["exp_avg"] for param in part],
                [self.state[param]["exp_avg_sq"] for param in part],
                number=number,
                group=group,
            )


def update(
    params: list[Tensor],
    grads: list[Tensor],
    means: list[Tensor],
    squares: list[Tensor],
    *,
    number: int,
    group: dict[str, Any],
) -> None:
    """Do update `number` (from 1) of some tensors in place, by some dozen kernels for all.

    Arguments
    ---------
    params : list[Tensor]
        Parameters, in float32.
    grads : list[Tensor]
        Gradients.
    means : list[Tensor]
        Moving averages of the gradients.
    squares : list[Tensor]
        Moving averages of their squares.
    number : int
        Which update.
    group : dict[str, Any]
        "lr", "betas", "eps", "weight_decay".
    """
    beta1, beta2 = group["betas"]
    torch._foreach_lerp_(means, grads, 1.0 - beta1)
    torch._foreach_mul_(squares, beta2)
    torch._foreach_addcmul_(squares, grads, grads, 1.0 - beta2)
    roots = torch._foreach_sqrt(squares)
    torch._foreach_div_(roots, (1.0 - beta2**number) ** 0.5)
    torch._foreach_add_(roots, group["eps"])
    steps = torch._foreach_div(means, 1.0 - beta1**number)
    torch._foreach_div_(steps, roots)
    if group["weight_decay"]:
        torch._foreach_add_(steps, params, alpha=group["weight_decay"])
    weights, sizes = (torch.stack(torch._foreach_norm(t)) for t in (params, steps))
    ratios = torch.where((weights > 0) & (sizes > 0), weights / sizes, 1.0) * -group["lr"]
    torch._foreach_mul_(steps, list(ratios.unbind()))
    torch._foreach_add_(params, steps)
