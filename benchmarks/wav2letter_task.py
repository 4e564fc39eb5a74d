"""Brains of the wav2letter recipes, with utterances that are made up or real, for benchmarks.

A made-up utterance is a row of letters, each a chord of its own for a tenth of a second in noise:
learnable, and without any file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import soundfile
import torch
from hyperpyyaml import load_hyperpyyaml
from speechbrain import Stage
from speechbrain.dataio.batch import PaddedBatch
from torch import Tensor

from benchmarks.measuring import ROOT
from recipes.common.asynchronous import NoLog
from recipes.LibriSpeech.ASR.conv_glu import brain as conv_glu
from recipes.LibriSpeech.ASR.seq2seq_tds import brain as seq2seq_tds
from recipes.LibriSpeech.wav2letter.phases import Phases
from recipes.LibriSpeech.wav2letter.pieces import END
from recipes.LibriSpeech.wav2letter.tokens import (
    LETTERS,
    REPLABEL,
    SEPARATOR,
    TokenSet,
    letter_tokens,
    pack,
)
from recipes.LibriSpeech.wav2letter.training import Wav2letterBrain

RATE_HZ = 16000
LETTER_SAMPLES = 1600
RECIPES = ROOT / "recipes" / "LibriSpeech" / "ASR"
KINDS: dict[str, tuple[type[Wav2letterBrain], str]] = {
    "conv_glu": (conv_glu.ASR, "conv_glu/hparams/model/conv_glu.yaml"),
    "seq2seq_tds": (seq2seq_tds.ASR, "seq2seq_tds/hparams/model/tds.yaml"),
}
SMALL = {
    "conv_glu": {"channels": [100, 100, 120], "kernels": [13, 9, 9], "hidden": 120},
    "seq2seq_tds": {"tds_channels": [4, 6, 8], "tds_blocks": [1, 1, 1], "decoder_size": 64},
}
"""Sizes of models that learn a few utterances by heart."""


class LetterPieces:
    """Letters as tokens of both recipes: with labels for ASG, with an end for the decoder."""

    def __init__(self, *, has_end: bool) -> None:
        self._tokens = TokenSet((*letter_tokens().names, *([END] if has_end else [])))

    def __len__(self) -> int:
        return len(self._tokens)

    def encode(self, text: str, *, is_training: bool = False) -> list[int]:
        """Return the tokens of a text."""
        del is_training
        letters = f"{SEPARATOR}{text}{SEPARATOR}".lower().replace(" ", SEPARATOR)
        return [self._tokens.index(token) for token in pack(letters, REPLABEL)]

    def decode(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """Return the texts of paths or token sequences."""
        return [" ".join(self._tokens.words_of_path(row)).upper() for row in rows]


@dataclass
class Task:
    """What is trained.

    Arguments
    ---------
    kind : str
        "conv_glu" or "seq2seq_tds".
    device : str
        "cuda" or "cpu".
    precision : str
        "fp32", "bf16" or "fp16".
    sizes : dict
        Of the model; those of the recipe otherwise.
    hparams : dict
        Of the Brain.
    run_opts : dict
        Of SpeechBrain.
    lr : float
        Rate of the network, and of the decoder; ASG's transitions have a hundredth.
    """

    kind: str
    device: str
    precision: str = "fp32"
    sizes: Mapping[str, Any] = field(default_factory=dict)
    hparams: Mapping[str, Any] = field(default_factory=dict)
    run_opts: Mapping[str, Any] = field(default_factory=dict)
    lr: float = 0.05


def made_up(num: int, *, seconds: float, seed: int = 0) -> list[dict[str, Any]]:
    """Return made-up utterances of about equal length."""
    generator = torch.Generator().manual_seed(seed)
    times = torch.arange(LETTER_SAMPLES) / RATE_HZ
    names = LETTERS[2:12]
    rows = []
    for number in range(num):
        count = max(1, int(seconds * RATE_HZ) // LETTER_SAMPLES)
        steps = torch.randint(1, len(names), (count,), generator=generator)
        letters = (steps.cumsum(0) % len(names)).tolist()
        tones = [
            torch.sin(6.2832 * (300 + 137 * i) * times)
            + torch.sin(6.2832 * (900 + 311 * i) * times)
            for i in letters
        ]
        wav = 0.05 * torch.cat(tones)
        wav += 0.003 * torch.randn(wav.shape, generator=generator)
        rows.append(
            {
                "id": f"made-{number}",
                "text": "".join(names[i] for i in letters).upper(),
                "wavs": wav,
            }
        )
    return rows


def recorded(manifest: Path, num: int) -> list[dict[str, Any]]:
    """Return the first recordings of AN4 in a manifest, shortest first."""
    lines = manifest.read_text(encoding="utf-8").splitlines()
    found = [row for row in map(json.loads, lines) if row["source"].startswith("AN4")][:num]
    rows = []
    for row in found:
        samples, _ = soundfile.read(manifest.parent / row["path"], dtype="float32")
        rows.append({"id": row["id"], "text": row["text"], "wavs": torch.from_numpy(samples)})
    return sorted(rows, key=lambda row: len(row["wavs"]))


def batches_of(rows: Sequence[Mapping[str, Any]], size: int, tokens: LetterPieces) -> list[Any]:
    """Return batches with what the Brains read of them."""
    batches = []
    for start in range(0, len(rows), size):
        part = [
            {**row, "category": "", "tokens": torch.tensor(tokens.encode(row["text"]))}
            for row in rows[start : start + size]
        ]
        batch = PaddedBatch(part)
        batch.is_padding = batch.ends_epoch = False
        batches.append(batch)
    return batches


def make_brain(task: Task, *, is_distributed: bool = False) -> Wav2letterBrain:
    """Return a Brain in training, in an epoch without linear targets or window."""
    torch.manual_seed(0)
    kind, path = KINDS[task.kind]
    has_end = task.kind == "seq2seq_tds"
    tokens = LetterPieces(has_end=has_end)
    sizes = {"num_tokens": len(tokens), **task.sizes}
    with (RECIPES / path).open(encoding="utf-8") as file:
        model = load_hyperpyyaml(file, sizes)
    search = model["greedy_search" if has_end else "viterbi"]
    rates = {"lr": task.lr, "lr_criterion": task.lr if has_end else task.lr / 100}
    given = {
        **{"phases": Phases([{**rates, "max_grad_norm": 15.0 if has_end else 0.2}])},
        **{"amp_policy": "w2l", "nominal_batch": None, "wav_augment": None, "fea_augment": None},
        **{"label_smoothing": 0.05, "pct_teacher_forcing": 99, "pretrain_window_epochs": 0},
        **{"softw_std": 4.0, "train_on_target_padding": False, "output_folder": ""},
        **{"valid_search": search, "test_search": search, "num_tokens": sizes["num_tokens"]},
        **{"valid_metric": "wer", "allow_tf32": False, **task.hparams},
    }
    momentum = 0.0 if has_end else 0.8
    brain = kind(
        model["modules"],
        lambda groups: torch.optim.SGD(groups, lr=1.0, momentum=momentum),
        given,
        {"device": task.device, "precision": task.precision, **task.run_opts},
    )
    brain.tokenizer = tokens
    brain.run_log = NoLog(ROOT)
    if is_distributed:
        brain._wrap_distributed()
    brain.init_optimizers()
    brain.on_stage_start(Stage.TRAIN, 1)
    brain.modules.train()
    brain.start_epoch(num_batches=None)
    return brain


def train(brain: Wav2letterBrain, batches: Sequence[Any], num_updates: int) -> Tensor:
    """Train on batches in turn; return the mean loss of each update."""
    losses = []
    for number in range(num_updates):
        loss = brain.fit_batch(batches[number % len(batches)])
        losses.append(loss.total / loss.count)
    return torch.stack(losses).float().cpu()


def letter_error(brain: Wav2letterBrain, batches: Sequence[Any]) -> float:
    """Return the letter error rate of the Brain's search, in percent."""
    brain.modules.eval()
    brain.on_stage_start(Stage.VALID, 1)
    for batch in batches:
        brain.evaluate_batch(batch, Stage.VALID)
    return float(brain.scores.summarise()["cer_p"])
