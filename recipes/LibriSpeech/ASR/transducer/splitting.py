"""Sequence splitting: only the longer half of a sorted batch runs beyond the shorter half's end.

An LSTM over a padded batch computes padding too. With the utterances in descending order of
length, all of them run up to the length of the longest of the shorter half, then the longer half
goes on alone from its states. Outputs at valid frames are those of the whole batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

MIN_LENGTH = 20
"""Frames that the longer half must have beyond the split, else the second call does not pay."""


@dataclass(frozen=True)
class Split:
    """Where a batch is split.

    Arguments
    ---------
    length : int
        Frames that all utterances run.
    num_longer : int
        Utterances, the first of the batch, that run on.
    """

    length: int
    num_longer: int

    def divided(self, factor: int) -> Split:
        """Return the split after `factor` frames were joined into one; `length` is a multiple."""
        return Split(self.length // factor, self.num_longer)


def split_point(
    host_frames: Sequence[int] | None, *, multiple: int, min_length: int = MIN_LENGTH
) -> Split | None:
    """Return where to split a batch, or None where it does not pay.

    Arguments
    ---------
    host_frames : Sequence[int] | None
        Lengths of the utterances, descending; None: no split.
    multiple : int
        The split's length is a multiple of it.
    min_length : int
        Frames that must be left behind the split.

    Returns
    -------
    Split | None
        At the median length.

    Raises
    ------
    ValueError
        If the lengths ascend somewhere.
    """
    if host_frames is None or len(host_frames) < 2:
        return None
    if any(a < b for a, b in zip(host_frames, host_frames[1:], strict=False)):
        raise ValueError(
            f"sequence split: lengths {list(host_frames)[:8]} ... are not in descending order; "
            "expected a sorted batch; sort it first, or give no lengths."
        )
    num_longer = len(host_frames) // 2
    length = -(-host_frames[num_longer] // multiple) * multiple
    if host_frames[0] - length < min_length:
        return None
    return Split(length, num_longer)


def run_split(stack: Any, x: Tensor, split: Split | None) -> Tensor:
    """Run an LSTM stack over x [L, B, F], in two pieces if there is a split; return [L, B, H].

    Beyond the split the outputs of the shorter half are zeros.
    """
    if split is None or split.length >= len(x):
        out: Tensor = stack(x)[0]
        return out
    first, (hidden, cell) = stack(x[: split.length])
    k = split.num_longer
    state = (hidden[:, :k].contiguous(), cell[:, :k].contiguous())
    second, _ = stack(x[split.length :, :k].contiguous(), state)
    padding = (0, 0, 0, x.shape[1] - k)
    return torch.cat([first, torch.nn.functional.pad(second, padding)])
