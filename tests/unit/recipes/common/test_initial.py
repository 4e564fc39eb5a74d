"""A run that starts from the parameters of another one."""

import pytest
import torch

from recipes.common.checkpointer import StampedeCheckpointer
from recipes.common.initial import start_from
from tests.unit.recipes.conformer.models import load_model, make_brain


def run_with_checkpoints(folder, values):
    """A finished run whose decoder's norm held these values, with these losses."""
    model = load_model()
    modules = torch.nn.ModuleDict(model["modules"])
    checkpointer = StampedeCheckpointer(folder / "checkpoints", {"model": modules})
    for number, (value, loss) in enumerate(values):
        torch.nn.init.constant_(modules["decoder"].norm.weight, value)
        checkpointer.save_checkpoint({"loss": loss, "updates": number})


@pytest.mark.parametrize(("choice", "value"), [("tested", 3.0), ("best", 2.0), ("last", 7.0)])
def test_new_run_starts_from_the_parameters_of_another(tmp_path, choice, value):
    run_with_checkpoints(tmp_path / "old", [(1.0, 5.0), (2.0, 1.0), (6.0, 4.0), (7.0, 6.0)])
    brain = make_brain(tmp_path, average_best_of=3, num_to_keep=3, average_by="time")
    modules = torch.nn.ModuleDict(dict(brain.raw_modules.items()))
    brain.checkpointer = StampedeCheckpointer(tmp_path / "new/checkpoints", {"model": modules})
    start_from(brain, tmp_path / "old", choice=choice)
    assert torch.equal(brain.raw_modules["decoder"].norm.weight, torch.full((16,), value))


def test_run_that_has_begun_takes_nothing(tmp_path):
    run_with_checkpoints(tmp_path / "old", [(4.0, 5.0)])
    brain = make_brain(tmp_path)
    modules = torch.nn.ModuleDict(dict(brain.raw_modules.items()))
    brain.checkpointer = StampedeCheckpointer(tmp_path / "new/checkpoints", {"model": modules})
    brain.checkpointer.save_checkpoint({"loss": 1.0})
    start_from(brain, tmp_path / "old")
    assert torch.equal(brain.raw_modules["decoder"].norm.weight, torch.ones(16))


def test_start_from_another_model_or_from_nothing_is_an_error(tmp_path):
    run_with_checkpoints(tmp_path / "old", [(4.0, 5.0)])
    brain = make_brain(tmp_path, model=load_model(d_ffn=30))
    modules = torch.nn.ModuleDict(dict(brain.raw_modules.items()))
    brain.checkpointer = StampedeCheckpointer(tmp_path / "new/checkpoints", {"model": modules})
    with pytest.raises(ValueError, match="is of another model"):
        start_from(brain, tmp_path / "old")
    with pytest.raises(FileNotFoundError, match="train it first"):
        start_from(brain, tmp_path / "nowhere")
    with pytest.raises(ValueError, match="init_choice"):
        start_from(brain, tmp_path / "old", choice="newest")
