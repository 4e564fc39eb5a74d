"""Brains of the recipe's own YAMLs with a tiny model, and a split of tones to train them on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import train
from data_prepare.global_batches import GlobalBatchLoader
from data_prepare.stream import ShardLoader
from recipes.common.hparams import load_run
from recipes.common.run_log import RunLog
from tests.conftest import ROOT
from tests.unit.data_prepare.corpora import random_shards, write_split

FOLDER = ROOT / "recipes/LibriSpeech/ASR/transducer/hparams"
SMALL_LAMB = Path(__file__).with_name("small_lamb.yaml")
"""The small run file by LAMB: small.yaml itself trains by Adam."""
TINY = {
    "vocab_size": 18,
    "num_threads": 1,
    "precision": "fp32",
    "ckpt_interval_minutes": 0,
    "log_every": 1,
    "model.chunk_rows": 64,
    "model.enc_size": 12,
    "model.pre_layers": 1,
    "model.post_layers": 1,
    "model.embedding_size": 6,
    "model.pred_size": 8,
    "model.pred_layers": 1,
    "model.joint_size": 8,
    "max_tokens": 20,
}
PLAIN = {
    "model.enc_dropout": 0.0,
    "model.pred_dropout": 0.0,
    "model.joint_dropout": 0.0,
    "model.dither": 0.0,
    "freq_masks": 0,
    "time_masks": 0,
}
"""Nothing random but what is drawn for each utterance."""
WORDS = ["one", "two", "three", "seven", "nine", "zero"]


def make_split(
    folder: Path, *, num_utterances: int = 24, shards: list[list[float]] | None = None
) -> Path:
    """Write a split of tones; three words each; the seconds of each shard are drawn or given."""
    texts = [
        f"{WORDS[n % 6]} {WORDS[(n * n + 1) % 6]} {WORDS[(3 * n) % 5]}".upper()
        for n in range(num_utterances)
    ]
    shards = shards or random_shards(num_utterances, num_shards=2)
    return write_split(folder, shards, texts=texts)


def make_brain(
    split: Path, output: Path, *, run_file: str | Path = SMALL_LAMB, **options: Any
) -> tuple[Any, Any, Any]:
    """Return a Brain with its tokenizer, and its loaders of one split for training and validation.

    Options are keys of the YAML; a dot is written as two underscores.
    """
    own = {"tokenizer_folder": output.parent / "tokenizer", "output_folder": output}
    if run_file not in (SMALL_LAMB, "small.yaml"):
        own["data_folder"] = output.parent
    named = {key.replace("__", "."): value for key, value in options.items()}
    words = [str(FOLDER / run_file)]
    for key, value in {**TINY, "work_folder": output.parent, **own, **named}.items():
        words += [f"--{key}", "null" if value is None else str(value)]
    run = load_run(words)
    brain = train.build_brain(run, run.run_opts, run_log=RunLog(output))
    run.hparams["train_tokenizer"](folders=[split])
    brain.tokenizer = run.hparams["tokenizer"]()
    transforms = [make(brain.tokenizer) for make in run.hparams["transforms"]]
    loaders = [
        run.hparams[f"{name}_loader"](split, transforms=transforms) for name in ("train", "valid")
    ]
    assert isinstance(loaders[0], GlobalBatchLoader)
    assert isinstance(loaders[1], ShardLoader)
    return brain, *loaders


def fit(brain: Any, train_set: Any, valid_set: Any) -> Any:
    """Train as the YAML says; return the Brain."""
    brain.fit(brain.hparams.epoch_counter, train_set, valid_set, progressbar=False)
    return brain
