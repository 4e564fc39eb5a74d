"""Arms of a unit start with the same weights, bit for bit."""

from types import SimpleNamespace

import pytest
import torch

from comparing.precision import check_same_start


def brains(*offsets: float) -> dict:
    """A Brain with one layer for each offset of its bias."""
    found = {}
    for place, offset in enumerate(offsets):
        layer = torch.nn.Linear(2, 1)
        torch.nn.init.ones_(layer.weight)
        torch.nn.init.constant_(layer.bias, offset)
        found[f"arm {place}"] = SimpleNamespace(raw_modules=torch.nn.ModuleDict({"out": layer}))
    return found


def test_equal_weights_are_taken():
    check_same_start(brains(0.5, 0.5, 0.5))


def test_other_weights_are_named():
    with pytest.raises(
        RuntimeError, match=r"arm 2 starts with other weights than arm 0: out\.bias"
    ):
        check_same_start(brains(0.5, 0.5, 0.5 + 2**-24))
