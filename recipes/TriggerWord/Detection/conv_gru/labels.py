"""From the times at which triggers end to a label for each output step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def steps_of(ms: float, *, num_steps: int, duration_ms: float) -> int:
    """Return the nearest number of output steps to a length of time; `num_steps` are the clip."""
    return round(ms * num_steps / duration_ms)


def end_steps(ends_ms: Sequence[float], *, num_steps: int, duration_ms: float) -> list[int]:
    """Return the output step in which each trigger ends: floor(end * steps / duration)."""
    return [int(end_ms * num_steps / duration_ms) for end_ms in ends_ms]


def label_steps(ends: Sequence[int], *, num_steps: int, width: int) -> Tensor:
    """Return the labels of a clip: 1 in the `width` steps after each end, 0 elsewhere.

    The step of the end itself stays 0; what lies beyond the clip is cut; where two regions overlap
    the label is 1.

    Arguments
    ---------
    ends : Sequence[int]
        Step of each trigger's end.
    num_steps : int
        T', steps of the clip.
    width : int
        Steps with label 1 after an end.

    Returns
    -------
    Tensor
        [T'] float32 of 0 and 1.
    """
    labels = torch.zeros(num_steps)
    for end in ends:
        labels[end + 1 : end + 1 + width] = 1.0
    return labels
