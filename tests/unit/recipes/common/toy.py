"""A tiny Brain and a tiny loader that keeps the stream's contract: no speech, no files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from speechbrain import Stage
from speechbrain.utils.epoch_loop import EpochCounter
from torch import Tensor, nn

from recipes.common.brain import StampedeBrain
from recipes.common.checkpointer import StampedeCheckpointer
from recipes.common.loss import LossSum
from recipes.common.recoverable import loader, recoverable, saver


@dataclass
class Batch:
    """x [B, T, 3], y [B]; the attributes that the stream's batches have."""

    x: Tensor
    y: Tensor
    id: list[str]
    is_padding: bool = False
    ends_epoch: bool | None = False


def make_batches(sizes: list[int], *, dtype: torch.dtype = torch.float32) -> list[Batch]:
    """Return batches of the given sizes with fixed content; a size of 0 makes a padding batch."""
    generator = torch.Generator().manual_seed(5)
    batches = []
    for number, size in enumerate(sizes):
        x = torch.randn(size or 2, 4, 3, generator=generator, dtype=dtype)
        ids = [f"utt-{number}-{i}" for i in range(len(x))]
        batches.append(Batch(x, x.sum(dim=(1, 2)).tanh(), ids, is_padding=size == 0))
    return batches


def merge(batches: list[Batch]) -> Batch:
    """Return one large batch of several."""
    ids = [id_ for batch in batches for id_ in batch.id]
    return Batch(torch.cat([b.x for b in batches]), torch.cat([b.y for b in batches]), ids)


@recoverable
class ToyLoader(torch.utils.data.DataLoader[Any]):
    """Shuffles by epoch, deals to ranks, and can be saved between two batches."""

    def __init__(
        self,
        batches: list[Batch],
        *,
        shuffle: bool = False,
        rank: int = 0,
        world_size: int = 1,
        has_ends: bool = True,
    ) -> None:
        super().__init__(batches, batch_size=None)  # type: ignore[arg-type]
        self.batches = batches
        self.is_shuffled = shuffle
        self.ranks = (rank, world_size)
        self.has_ends = has_ends
        self.epoch, self.position, self.is_over = 0, 0, False

    def __len__(self) -> int:
        return len(self.batches) // self.ranks[1]

    def __iter__(self) -> Any:
        if self.is_over:
            self.epoch, self.position, self.is_over = self.epoch + 1, 0, False
        generator = torch.Generator().manual_seed(self.epoch)
        order = torch.arange(len(self.batches))
        if self.is_shuffled:
            order = torch.randperm(len(self.batches), generator=generator)
        own = order[self.ranks[0] :: self.ranks[1]].tolist()
        for place in range(self.position, len(own)):
            batch = self.batches[own[place]]
            batch.ends_epoch = place == len(own) - 1 if self.has_ends else None
            self.position = place + 1
            yield batch
        self.is_over = True

    @saver
    def _save(self, path: Path) -> None:
        Path(path).write_text(json.dumps([self.epoch, self.position]), encoding="utf-8")

    @loader
    def _load(self, path: Path, end_of_epoch: bool) -> None:
        self.epoch, self.position = json.loads(Path(path).read_text(encoding="utf-8"))
        self.is_over = end_of_epoch


class Net(nn.Module):
    """LSTM, dropout, linear: [B, T, 3] to [B]."""

    def __init__(self, *, dropout: float = 0.0, norm: bool = False) -> None:
        super().__init__()
        self.rnn = nn.LSTM(3, 6, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.BatchNorm1d(6) if norm else nn.Identity()
        self.out = nn.Linear(6, 1)

    def forward(self, x: Tensor) -> Tensor:
        last = self.rnn(x)[0][:, -1]  # [B, 6]
        return self.out(self.dropout(self.norm(last))).squeeze(1)


class ToyBrain(StampedeBrain):
    """Squared error, one unit an example; remembers its reports and stage losses."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.reports: list[Any] = []
        self.stages: list[tuple[str, float]] = []
        self.kill_after: int | None = None

    def compute_forward(self, batch: Batch, stage: Stage) -> dict[str, Tensor]:
        return {"y": self.modules.net(batch.x)}

    def compute_objectives(
        self, predictions: dict[str, Tensor], batch: Batch, stage: Stage
    ) -> LossSum:
        total = ((predictions["y"] - batch.y) ** 2).sum()
        return LossSum(total * 0, 0) if batch.is_padding else LossSum(total, len(batch.y))

    def on_stage_end(self, stage: Stage, stage_loss: float, epoch: int | None = None) -> None:
        self.stages.append((stage.name, stage_loss))
        if stage == Stage.VALID and epoch is not None:
            self.finish_validation({"loss": stage_loss}, epoch=epoch)

    def on_update_end(self, report: Any) -> None:
        self.reports.append(report)
        if self.optimizer_step == self.kill_after:
            raise KeyboardInterrupt


def make_brain(
    *,
    folder: Path | None = None,
    hparams: dict[str, Any] | None = None,
    run_opts: dict[str, Any] | None = None,
    dropout: float = 0.0,
    dtype: torch.dtype = torch.float32,
    epochs: int = 2,
    norm: bool = False,
    optimizer: Any = None,
) -> tuple[ToyBrain, EpochCounter]:
    """Return a Brain with a net of fixed weights, and its epoch counter."""
    torch.manual_seed(3)
    net = Net(dropout=dropout, norm=norm).to(dtype)
    counter = EpochCounter(epochs)
    checkpointer = None
    if folder is not None:
        checkpointer = StampedeCheckpointer(folder, {"net": net, "counter": counter})
    brain = ToyBrain(
        {"net": net},
        optimizer or (lambda params: torch.optim.Adam(params, lr=0.01)),
        {"seed": 1, **(hparams or {})},
        {"device": "cpu", "noprogressbar": True, **(run_opts or {})},
        checkpointer,
    )
    return brain, counter


def weights(brain: ToyBrain) -> Tensor:
    """Return all parameters and buffers as one vector."""
    return torch.cat([v.detach().flatten().double() for v in brain.modules.state_dict().values()])
