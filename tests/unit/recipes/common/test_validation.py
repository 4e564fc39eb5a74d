"""Which checkpoints a run keeps for the average that its tests use."""

import pytest
import torch

from tests.unit.recipes.common.toy import make_brain

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
