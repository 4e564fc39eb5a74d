"""A tiny Brain with the training rules of the wav2letter recipes: linear network and criterion."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from speechbrain import Stage
from speechbrain.utils.epoch_loop import EpochCounter
from torch import Tensor, nn

from recipes.common.checkpointer import StampedeCheckpointer
from recipes.common.loss import LossSum
from recipes.LibriSpeech.wav2letter.phases import Phases
from recipes.LibriSpeech.wav2letter.training import Wav2letterBrain
from tests.unit.recipes.common.toy import Batch, make_batches

PHASE = {"lr": 0.05, "lr_criterion": 0.02, "max_grad_norm": 1e9}


class Criterion(nn.Module):
    """A scale and a shift that are learned."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.tensor([0.3]))

    def forward(self, found: Tensor, wanted: Tensor) -> Tensor:
        return ((found + self.shift - wanted) ** 2).sum()


class ToyBrain(Wav2letterBrain):
    """Squared error; `poison` tells which attempts get an infinite gradient, and where."""

    criterion_names = ("criterion",)
    valid_figures = ("loss",)

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.poison: dict[int, str] = {}
        self.num_attempts = 0
        self.reports: list[Any] = []
        self.run_log = SimpleNamespace(update=self.reports.append)

    def compute_forward(self, batch: Any, stage: Stage) -> dict[str, Tensor]:
        return {"y": self.modules.net(batch.x).flatten(1).sum(1)}

    def compute_objectives(
        self, predictions: dict[str, Tensor], batch: Any, stage: Stage
    ) -> LossSum:
        total = self.modules.criterion(predictions["y"], batch.y)
        if stage == Stage.TRAIN:
            self.num_attempts += 1
            total = self.poisoned(total, self.poison.get(self.num_attempts, ""))
        return LossSum(total, self.num_units(batch))

    def poisoned(self, total: Tensor, where: str) -> Tensor:
        if where == "loss":
            return total * float("inf")
        if where:
            param = next(self.modules[where].parameters())
            handle = param.register_hook(lambda grad: grad * float("inf"))
            self.handles = [*getattr(self, "handles", []), handle]
        return total

    def fit_batch(self, batch: Any) -> LossSum:
        loss = super().fit_batch(batch)
        for handle in getattr(self, "handles", []):
            handle.remove()
        return loss

    def optimizers_step(self) -> None:
        super().optimizers_step()
        for handle in getattr(self, "handles", []):
            handle.remove()

    def on_stage_end(self, stage: Stage, stage_loss: float, epoch: int | None = None) -> None:
        if stage == Stage.VALID and epoch is not None:
            self.finish_validation({"loss": stage_loss}, epoch=epoch)


def make_brain(
    *,
    folder: Path | None = None,
    phases: list[dict[str, Any]] | None = None,
    momentum: float = 0.8,
    epochs: int = 2,
    hparams: dict[str, Any] | None = None,
    run_opts: dict[str, Any] | None = None,
) -> tuple[ToyBrain, EpochCounter]:
    """Return a Brain of fixed weights, and its epoch counter."""
    torch.manual_seed(3)
    modules = {"net": nn.Linear(3, 2).double(), "criterion": Criterion().double()}
    counter = EpochCounter(epochs)
    checkpointer = None
    if folder is not None:
        recoverables = {"model": nn.ModuleDict(modules), "counter": counter}
        checkpointer = StampedeCheckpointer(folder, recoverables)
    given = {
        **{"phases": Phases(phases or [PHASE]), "amp_policy": "torch", "nominal_batch": None},
        **{"seed": 1, "output_folder": "", **(hparams or {})},
    }
    brain = ToyBrain(
        modules,
        lambda groups: torch.optim.SGD(groups, lr=1.0, momentum=momentum),
        given,
        {"device": "cpu", "noprogressbar": True, **(run_opts or {})},
        checkpointer,
    )
    return brain, counter


def batches(sizes: list[int]) -> list[Batch]:
    """Return batches of the given sizes, in float64."""
    return make_batches(sizes, dtype=torch.float64)


def weights(brain: ToyBrain) -> Tensor:
    """Return all parameters as one vector."""
    return torch.cat([p.detach().flatten() for p in brain.modules.parameters()])
