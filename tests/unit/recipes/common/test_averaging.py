"""Averages of the best checkpoints."""

import math

import pytest
import torch
from torch import nn

from recipes.common.averaging import average_best, average_neighbours
from recipes.common.checkpointer import StampedeCheckpointer


def saved(folder, values):
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    checkpointer = StampedeCheckpointer(folder, {"net": net})
    for number, (value, wer) in enumerate(values):
        nn.init.constant_(net[0].weight, value)
        net[1].running_mean.fill_(value)
        net[1].num_batches_tracked.fill_(number)
        checkpointer.save_checkpoint({} if wer is None else {"wer": wer})
    return checkpointer


def test_average_takes_the_best_and_integers_of_the_newest(tmp_path):
    checkpointer = saved(tmp_path, [(1.0, 5.0), (2.0, 4.0), (9.0, 9.0), (6.0, 6.0)])
    state = average_best(checkpointer, ["net"], 3, min_key="wer")["net"]
    assert torch.equal(state["0.weight"], torch.full((3, 2), 3.0))
    assert torch.equal(state["1.running_mean"], torch.full((3,), 3.0))
    assert state["1.num_batches_tracked"] == 3
    assert state["1.num_batches_tracked"].dtype == torch.int64


def test_average_takes_what_is_there_and_skips_the_damaged(tmp_path):
    checkpointer = saved(tmp_path, [(1.0, 5.0), (2.0, 4.0), (3.0, 6.0)])
    checkpointer.find_checkpoint(min_key="wer").paramfiles["net"].write_bytes(b"")
    state = average_best(checkpointer, ["net"], 9, min_key="wer")["net"]
    assert torch.equal(state["0.weight"], torch.full((3, 2), 2.0))


def test_average_without_checkpoint_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="'wer'"):
        average_best(saved(tmp_path, []), ["net"], 2, min_key="wer")


def test_average_of_two_models_is_an_error(tmp_path):
    saved(tmp_path, [(1.0, 5.0)])
    StampedeCheckpointer(tmp_path, {"net": nn.Linear(1, 1)}).save_checkpoint({"wer": 4.0})
    with pytest.raises(ValueError, match="one model"):
        average_best(saved(tmp_path, []), ["net"], 2, min_key="wer")


@pytest.mark.parametrize(
    ("num", "losses", "mean"),
    [
        (3, [5.0, 4.0, 1.0, 3.0, 2.0], 3.0),  # the third, with its neighbours
        (2, [5.0, 4.0, 1.0, 3.0, 2.0], 2.5),  # one more before than after
        (3, [1.0, 4.0, 5.0, 3.0, 2.0], 1.5),  # at the beginning
        (3, [5.0, 4.0, 6.0, 3.0, 2.0], 4.5),  # at the end
        (1, [5.0, 4.0, 1.0, 3.0, 2.0], 3.0),
        (3, [5.0, 4.0, 1.0, None, 2.0], 10 / 3),  # the fourth was not validated
        (3, [5.0, math.nan, 1.0, 3.0, None], 8 / 3),
    ],
)
def test_average_of_neighbours_is_centred_on_the_best(tmp_path, num, losses, mean):
    checkpointer = saved(tmp_path, list(zip([1.0, 2.0, 3.0, 4.0, 5.0], losses, strict=True)))
    state = average_neighbours(checkpointer, ["net"], num, min_key="wer")["net"]
    assert torch.allclose(state["0.weight"], torch.full((3, 2), mean))
    assert state["1.num_batches_tracked"].dtype == torch.int64


def test_average_of_neighbours_without_checkpoint_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="'wer'"):
        average_neighbours(saved(tmp_path, []), ["net"], 3, min_key="wer")
