"""Absolute lengths from SpeechBrain's relative ones."""

import torch
from torch import Tensor


def absolute(relative: Tensor, padded: Tensor) -> Tensor:
    """Return lengths as whole numbers: exact up to 16.7 million places (17 minutes of 16 kHz).

    Arguments
    ---------
    relative : Tensor
        [B] float32, share of the longest item, in (0, 1].
    padded : Tensor
        [B, L, ...], the padded items.

    Returns
    -------
    Tensor
        [B] int64, ``round(relative * L)``.
    """
    return (relative.double() * padded.shape[1]).round().long()


def padding_mask(num_valid: Tensor, padded: Tensor) -> Tensor:
    """Return [B, L] bool, True where ``padded`` [B, L, ...] lies beyond ``num_valid`` [B]."""
    positions = torch.arange(padded.shape[1], device=num_valid.device)
    return positions >= num_valid[:, None]
