"""Initial weights as flashlight draws them: a little larger than PyTorch's."""

import math

import torch
from torch import Tensor


@torch.no_grad()
def uniform_as_flashlight(weight: Tensor, bias: Tensor | None, *, fan_in: int) -> None:
    """Draw weights from +-sqrt(3 / fan_in) and biases from +-sqrt(1 / fan_in), in place.

    Arguments
    ---------
    weight : Tensor
        Any shape.
    bias : Tensor | None
        Any shape, or None.
    fan_in : int
        Inputs of each output.
    """
    weight.uniform_(-math.sqrt(3 / fan_in), math.sqrt(3 / fan_in))
    if bias is not None:
        bias.uniform_(-math.sqrt(1 / fan_in), math.sqrt(1 / fan_in))


def init_modules(module: torch.nn.Module) -> None:
    """Draw the weights of all linear layers and convolutions of a module."""
    for part in module.modules():
        if isinstance(part, torch.nn.Linear | torch.nn.Conv2d):
            uniform_as_flashlight(part.weight, part.bias, fan_in=part.weight[0].numel())
