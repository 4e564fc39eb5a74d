"""What the transducer's throughput benchmark trains: the recipe's own Brain on made-up batches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from speechbrain import Stage
from speechbrain.dataio.batch import PaddedData

import train
from benchmarks.rnnt_measuring import now
from data_prepare.sequence import Position
from recipes.common.hparams import load_run
from recipes.common.run_log import RunLog

HPARAMS = Path("recipes/LibriSpeech/ASR/transducer/hparams")
RATE_HZ = 16000
SAMPLES, TOKENS = 195_840, 56
"""The benchmark's synthetic utterance."""
PIECES_PER_S = 4.58
LAMB = "opt_class: !ref <lamb>\n"
"""The benchmark's optimizer, also where the small run file has another."""


@dataclass
class MadeUpBatch:
    """What the Brain needs of a batch of the loader.

    Arguments
    ---------
    wavs, tokens : PaddedData, PaddedData
        Audio [B, S] and pieces [B, U], with relative lengths.
    id : list of str
        Names.
    position : Position
        Of pass 0.
    """

    wavs: PaddedData
    tokens: PaddedData
    id: list[str]
    position: Position = field(default_factory=Position)
    is_padding: bool = False
    ends_epoch: bool = False

    def to(self, *arguments: Any, **options: Any) -> MadeUpBatch:
        """Return the batch moved, by the arguments of ``Tensor.to``."""
        moved = [
            PaddedData(part.data.to(*arguments, **options), part.lengths.to(*arguments, **options))
            for part in (self.wavs, self.tokens)
        ]
        return replace(self, wavs=moved[0], tokens=moved[1])

    def part(self, first: int, last: int) -> MadeUpBatch:
        """Return some of its utterances, padding kept."""
        parts = [
            PaddedData(p.data[first:last], p.lengths[first:last]) for p in (self.wavs, self.tokens)
        ]
        return replace(self, wavs=parts[0], tokens=parts[1], id=self.id[first:last])


def simulated_seconds(num: int, rng: np.random.Generator) -> Any:
    """Return lengths like LibriSpeech's: a quarter of 1.5 to 12 s, the rest about 14.3 s."""
    short = rng.uniform(1.5, 12.0, num)
    long = np.clip(rng.normal(14.3, 1.2, num), 1.5, 16.7)
    return np.where(rng.random(num) < 0.25, short, long)


def make_batch(  # noqa: PLR0913 - all by keyword
    size: int, *, shape: str, vocab_size: int, seed: int, pin: bool, by_length: bool = True
) -> MadeUpBatch:
    """Return one batch: `canonical` (the benchmark's utterance) or `simulated` lengths.

    With `by_length` the longest utterances come first, so that micro-batches are of like lengths.
    """
    rng = np.random.default_rng(seed)
    if shape == "canonical":
        samples, tokens = np.full(size, SAMPLES), np.full(size, TOKENS)
    else:
        seconds = simulated_seconds(size, rng)
        seconds = np.sort(seconds)[::-1] if by_length else seconds
        samples = (seconds * RATE_HZ).astype(int)
        tokens = np.maximum(1, (seconds * PIECES_PER_S).astype(int))
    wavs = torch.from_numpy(rng.standard_normal((size, samples.max()), dtype=np.float32)) * 0.1
    pieces = torch.from_numpy(rng.integers(1, vocab_size, (size, tokens.max())))
    for row, (num, count) in enumerate(zip(samples, tokens, strict=True)):
        wavs[row, num:], pieces[row, count:] = 0.0, 0
    parts = [
        PaddedData(data.pin_memory() if pin else data, torch.from_numpy(num / num.max()).float())
        for data, num in ((wavs, samples), (pieces, tokens))
    ]
    return MadeUpBatch(*parts, [f"{seed}-{row}" for row in range(size)])


def make_brain(base: str, mode: str, folder: Path, **options: Any) -> Any:
    """Return the Brain of a run file by LAMB, as it is (`fast`) or in the reference's way."""
    text = "__base__: train.yaml\n"
    if mode == "reference":
        text = (HPARAMS / "reference.yaml").read_text(encoding="utf-8")
    path = folder / f"{mode}.yaml"
    path.write_text(
        text.replace("__base__: train.yaml", f"__base__: {(HPARAMS / base).resolve()}") + LAMB,
        encoding="utf-8",
    )
    words = [str(path), "--output_folder", str(folder / "run"), "--work_folder", str(folder)]
    if base == "train.yaml":
        words += ["--data_folder", str(folder)]
    for key, value in options.items():
        words += [f"--{key.replace('__', '.')}", str(value)]
    run = load_run(words)
    brain = train.build_brain(run, run.run_opts, run_log=RunLog(folder / "run", log_every=10**9))
    brain.options.update_schedule.updates_per_epoch = 100
    brain.on_fit_start()
    brain.modules.train()
    brain.on_stage_start(Stage.TRAIN, 1)
    brain.start_epoch(num_batches=None)
    return brain


def train_on(brain: Any, batch: MadeUpBatch, *, micro_batch: int) -> None:
    """Do one update on a batch, by micro-batches."""
    size = len(batch.id)
    brain.grad_accumulation_factor = -(-size // micro_batch)
    for first in range(0, size, micro_batch):
        brain.fit_batch(batch.part(first, first + micro_batch))


class Stages:
    """Seconds of the parts of a step, each with the device waited for before and after it.

    Arguments
    ---------
    brain : Any
        Its modules and methods are watched inside the block of :meth:`watch`.
    """

    def __init__(self, brain: Any) -> None:
        self.brain = brain
        self.seconds: dict[str, float] = defaultdict(float)

    def _now(self) -> float:
        return now(self.brain.device_type)

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Watch the steps inside the block."""
        handles, begun = [], {}

        def hooks(name: str) -> tuple[Callable[..., None], Callable[..., None]]:
            def before(*_: Any) -> None:
                begun[name] = self._now()

            def after(*_: Any) -> None:
                self.seconds[name] += self._now() - begun[name]

            return before, after

        for name, module in self.brain.modules.items():
            before, after = hooks(name)
            handles += [
                module.register_forward_pre_hook(before),
                module.register_forward_hook(after),
            ]
        step = self.brain.optimizers_step
        before, after = hooks("update")

        def watched() -> None:
            before()
            step()
            after()

        self.brain.optimizers_step = watched
        start = self._now()
        try:
            yield
        finally:
            total = self._now() - start
            self.seconds["backward and the rest"] = total - sum(self.seconds.values())
            for handle in handles:
                handle.remove()
            del self.brain.optimizers_step
