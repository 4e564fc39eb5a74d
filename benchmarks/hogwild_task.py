"""What the speed of asynchronous training is measured on: two models, data without files.

"ctc": convolution, LSTM and CTC on sequences of letters that sound like noise of their own;
"mlp": a small classifier, for which everything but arithmetic is dear. Legend: B, T as elsewhere.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from speechbrain import Stage
from speechbrain.utils.epoch_loop import EpochCounter
from torch import Tensor, nn
from torch.nn import functional as F

from hogwild.protocols import Trainee
from recipes.common.brain import StampedeBrain
from recipes.common.loss import LossSum
from recipes.common.rng import rng_state, seed_streams, set_rng_state

NUM_LETTERS, NUM_FEATURES = 20, 40
WARM_UP, MEMORY_AT = 1, 10


@dataclass
class Examples:
    """x [B, T, F] or [B, F], targets, and the attributes of a loader's batch."""

    x: Tensor
    targets: Tensor
    id: list[str]
    is_padding: bool = False
    ends_epoch: bool = False


@dataclass(frozen=True)
class Task:
    """A model, its data and its optimizer.

    Arguments
    ---------
    model : str
        "ctc" or "mlp".
    size : int
        Width of the model.
    batches : int
        Batches of an epoch, of all processes together.
    optimizer : str
        "adam" or "sgd".
    rate : float
        Learning rate.
    device : str
        Where a process computes.
    folder : str
        Where each process notes its memory; empty: nowhere.
    sleeper : int
        Number of the process that sleeps as long as it computes; -1: none.
    examples : int
        Of a batch.
    """

    model: str = "ctc"
    size: int = 128
    batches: int = 200
    optimizer: str = "adam"
    rate: float = 0.002
    device: str = "cpu"
    folder: str = ""
    sleeper: int = -1
    examples: int = 8

    def num_batches(self, pass_number: int = 0) -> int:
        """Return the batches of a pass."""
        del pass_number
        return self.batches

    def fetch(self, number: int, *, pass_number: int = 0) -> Examples:
        """Return a batch; its content follows from the numbers."""
        generator = torch.Generator().manual_seed(number + 100_003 * pass_number)
        sounds = torch.randn(NUM_LETTERS, NUM_FEATURES, generator=torch.Generator().manual_seed(1))
        num = self.examples
        targets = torch.randint(1, NUM_LETTERS, (num, 12), generator=generator)
        ids = [f"{pass_number}-{number}-{place}" for place in range(num)]
        if self.model == "mlp":
            noise = torch.randn(num, NUM_FEATURES, generator=generator)
            return Examples(sounds[targets[:, 0]] + noise, targets[:, 0], ids)
        frames = sounds[targets].repeat_interleave(8, dim=1)
        return Examples(frames + torch.randn(frames.shape, generator=generator), targets, ids)

    def network(self) -> nn.Module:
        """Return the model with fixed first weights."""
        torch.manual_seed(3)
        if self.model == "ctc":
            return Recogniser(self.size)
        layers = [nn.Linear(NUM_FEATURES, self.size), nn.ReLU(), nn.Linear(self.size, NUM_LETTERS)]
        return nn.Sequential(*layers)

    def brain(self, process: int = 0) -> BenchBrain:
        """Return a Brain of one process."""
        kinds = {
            "adam": partial(torch.optim.Adam, lr=self.rate, fused=True),
            "sgd": partial(torch.optim.SGD, lr=self.rate),
        }
        brain = BenchBrain(
            {"net": self.network()},
            kinds[self.optimizer],
            {"seed": 1, "log_every": 10**6},
            {"device": self.device, "noprogressbar": True, "max_grad_norm": 1.0},
        )
        brain.task, brain.process = self, process
        return brain


class Recogniser(nn.Module):
    """[B, T, F] to log-probabilities [B, T / 2, V]."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(NUM_FEATURES, size, 5, stride=2, padding=2)
        self.rnn = nn.LSTM(size, size, 2, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * size, NUM_LETTERS)

    def forward(self, x: Tensor) -> Tensor:
        """Compute log-probabilities."""
        hidden = F.relu(self.conv(x.transpose(1, 2))).transpose(1, 2)
        return self.out(self.rnn(hidden)[0]).log_softmax(-1)


class BenchBrain(StampedeBrain):
    """Trains either model; notes when its epochs end, and its memory once."""

    task: Task
    process = 0

    def compute_forward(self, batch: Examples, stage: Stage) -> Tensor:
        """Compute log-probabilities, after the sleep of a straggler."""
        if self.task.sleeper == self.process:
            busy_s = time.thread_time()
            time.sleep(max(0.0, busy_s - vars(self).get("busy_s", busy_s)))
            self.busy_s = busy_s
        return self.modules.net(batch.x.to(self.device))

    def compute_objectives(self, predictions: Tensor, batch: Examples, stage: Stage) -> LossSum:
        """Return CTC or cross-entropy, summed over examples."""
        if self.step == MEMORY_AT and self.task.folder:
            note_memory(Path(self.task.folder))
        targets = batch.targets.to(self.device)
        if self.task.model == "mlp":
            total = F.cross_entropy(predictions, targets, reduction="sum")
            return LossSum(total, len(batch.id))
        lengths = [torch.full((len(batch.id),), n) for n in (predictions.shape[1], 12)]
        total = F.ctc_loss(predictions.transpose(0, 1), targets, *lengths, reduction="sum")
        return LossSum(total, len(batch.id))

    def on_stage_end(self, stage: Stage, stage_loss: float, epoch: int | None = None) -> None:
        """Note the time."""
        self.ended_s = [*vars(self).get("ended_s", []), time.monotonic()]


class Loader(torch.utils.data.DataLoader[Any]):
    """A process's share of a task's batches, for `Brain.fit`."""

    def __init__(self, task: Task, *, process: int = 0, num_processes: int = 1) -> None:
        super().__init__(range(task.batches), batch_size=None)  # type: ignore[arg-type]
        self.task, self.numbers = task, range(process, task.batches, num_processes)
        self.passes = 0

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Any:
        for number in self.numbers:
            batch = self.task.fetch(number, pass_number=self.passes)
            batch.ends_epoch = number == self.numbers[-1]
            yield batch
        self.passes += 1


def note_memory(folder: Path) -> None:
    """Write this process's memory: its share of shared pages, and all pages."""
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
    fields = {line.split(":")[0]: line.split()[1] for line in lines[1:]}
    sizes = {name: int(fields[name]) / 1024 for name in ("Pss", "Rss", "Private_Dirty")}
    (folder / f"{os.getpid()}.json").write_text(json.dumps(sizes), encoding="utf-8")


def make_trainee(worker: int, task: Task) -> Trainee:
    """Make what a worker trains with."""
    return Trainee(task.brain(worker), task, partial(seed_streams, 1), rng_state, set_rng_state)


def epochs() -> EpochCounter:
    """Return one epoch to warm up and one to measure."""
    return EpochCounter(WARM_UP + 1)
