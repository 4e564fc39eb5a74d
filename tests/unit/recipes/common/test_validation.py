"""Which checkpoints a run keeps and takes for its tests."""

import math

import pytest
import torch
from speechbrain import Stage

from tests.unit.recipes.common.toy import ToyLoader, make_batches, make_brain

LOSSES = [9.0, 8.0, 1.0, 7.0, 6.0, 5.0, 4.0, 3.0]


@pytest.mark.parametrize(
    ("average_by", "kept"),
    [("value", [1.0, 3.0, 4.0, 5.0]), ("time", [8.0, 1.0, 7.0, 3.0, 4.0, 5.0])],
)
def test_neighbours_of_the_best_checkpoint_are_kept(tmp_path, average_by, kept):
    options = {"num_to_keep": 3, "average_best_of": 3, "average_by": average_by}
    brain, _ = make_brain(folder=tmp_path, hparams=options)
    for number, loss in enumerate(LOSSES):
        brain.optimizer_step = number
        torch.nn.init.constant_(brain.modules.net.out.bias, loss)
        brain.finish_validation({"loss": loss}, epoch=number)
    found = [ckpt.meta["loss"] for ckpt in brain.checkpointer.find_checkpoints()]
    assert sorted(found) == sorted(kept)
    brain.on_evaluate_start()
    mean = {"value": (1 + 3 + 4) / 3, "time": (8 + 1 + 7) / 3}[average_by]
    assert float(brain.modules.net.out.bias) == pytest.approx(mean)


@pytest.mark.parametrize(("num_batches", "is_nan"), [(30, False), (3, True)])
def test_validation_with_many_batches_without_finite_loss_is_never_best(
    tmp_path, num_batches, is_nan, caplog
):
    brain, counter = make_brain(folder=tmp_path, epochs=2)
    valid = make_batches([1] * num_batches)

    def end_stage(stage, loss, epoch=None):
        type(brain).on_stage_end(brain, stage, loss, epoch)
        if stage == Stage.VALID:
            valid[1].y.fill_(math.nan)  # from the second epoch on

    brain.on_stage_end = end_stage
    brain.fit(counter, ToyLoader(make_batches([2])), ToyLoader(valid))
    (_, first), (_, second) = [entry for entry in brain.stages if entry[0] == "VALID"]
    assert math.isfinite(first)
    assert math.isnan(second) == is_nan
    assert brain.num_nonfinite_batches == 1
    assert "valid: 1 of its batches had no finite loss" in caplog.text
    best = brain.checkpointer.find_checkpoint(min_key="loss").meta["loss"]
    assert best == (first if is_nan else min(first, second))
