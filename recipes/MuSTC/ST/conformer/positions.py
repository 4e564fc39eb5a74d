"""Sinusoids of positions (Vaswani et al. 2017, section 3.5), computed where they are needed.

They are no buffers, so checkpoints do not hold them and no length is too long.
"""

import math

import torch
from torch import Tensor


def sinusoids(positions: Tensor, size: int) -> Tensor:
    """Return sine and cosine of each position at falling frequencies, in turn.

    Arguments
    ---------
    positions : Tensor
        [P] whole numbers, negative ones too.
    size : int
        Values for each position; even.

    Returns
    -------
    Tensor
        [P, size] float32.
    """
    places = torch.arange(0, size, 2, device=positions.device, dtype=torch.float32)
    angles = positions.float()[:, None] * torch.exp(places * (-math.log(10000.0) / size))
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


def distances(num_frames: int, device: torch.device) -> Tensor:
    """Return the distances from a query back to a key: T - 1 down to -(T - 1).

    SpeechBrain's RelPosEncXL gives the same table for both directions, so that its attention
    cannot tell what comes before from what comes after; here the sign counts (Dai et al. 2019,
    section 3.3).

    Arguments
    ---------
    num_frames : int
        T.
    device : torch.device
        Where they are wanted.

    Returns
    -------
    Tensor
        [2 T - 1] int64, in the order in which RelPosMHAXL expects them.
    """
    return torch.arange(num_frames - 1, -num_frames, -1, device=device)
