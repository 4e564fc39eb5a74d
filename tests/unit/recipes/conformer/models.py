"""A tiny model of the recipe, and batches of made-up audio."""

from types import SimpleNamespace
from typing import Any

import torch
from hyperpyyaml import load_hyperpyyaml
from speechbrain import Stage
from speechbrain.dataio.batch import PaddedBatch

from recipes.MuSTC.ST.conformer.brain import SpeechTranslation
from tests.conftest import ROOT

MODEL = ROOT / "recipes/MuSTC/ST/conformer/hparams/model/conformer.yaml"
SIZES: dict[str, Any] = {
    "source_vocab_size": 12, "target_vocab_size": 14, "subsampler_size": 24, "d_model": 16,
    "num_heads": 2, "d_ffn": 24, "kernel": 7, "num_blocks": 3, "ctc_block": 2,
    "decoder_layers": 2, "dropout": 0.0, "max_target_tokens": 12, "beam_size": 3,
}  # fmt: skip
PAIRS = [([4, 5, 5, 6], [7, 8]), ([7], [9, 10, 11]), ([8, 9, 10], [4])]


class Letters:
    """Stands for a pair of tokenizers: token 4 is "a"."""

    def decode(self, ids):
        return ["".join(chr(93 + int(i)) for i in row) for row in ids]


def load_model(**changes) -> dict[str, Any]:
    """The model of the recipe's YAML with small sizes; weights are those of one seed."""
    torch.manual_seed(0)
    with MODEL.open(encoding="utf-8") as file:
        return load_hyperpyyaml(file, {**SIZES, **changes})


def count_parameters(module: torch.nn.Module) -> int:
    """The number of trainable parameters."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def make_batch(
    pairs=PAIRS, *, seconds=(1.0, 0.53, 0.8), is_padding=False, start=(2,)
) -> PaddedBatch:
    generator = torch.Generator().manual_seed(0)
    rows = []
    for number, ((source, target), duration) in enumerate(zip(pairs, seconds, strict=False)):
        ids = torch.tensor([*start, *target, 3])
        rows.append(
            {
                "id": f"u{number}",
                "wavs": 0.1 * torch.randn(int(16000 * duration), generator=generator),
                "source_tokens": torch.tensor(source),
                "prefix": torch.tensor(start),
                "tokens_bos": ids[:-1],
                "tokens_eos": ids[1:],
                "text": "".join(chr(93 + t) for t in target),
                "notes": {"source": f"source {number}"},
            }
        )
    batch = PaddedBatch(rows)
    batch.is_padding = is_padding
    return batch


def make_brain(folder, *, run_opts=None, model=None, **changes) -> SpeechTranslation:
    model = model or load_model()
    hparams = {
        **model, "spec_augment": None, "label_smoothing": 0.1, "ctc_weight": 0.5,
        "normalize_by": "source_tokens", "compress_start_step": 0, "valid_metric": "loss",
        "valid_search": model["greedy_search"], "test_search": model["beam_search"],
        "output_folder": str(folder), "init_folder": None, "init_choice": "tested",
        "allow_tf32": False, "frames_per_update": None, "max_batch_s": 10.0, **changes,
    }  # fmt: skip
    optimizer = torch.optim.Adam
    brain = SpeechTranslation(
        model["modules"], optimizer, hparams, {"device": "cpu", **(run_opts or {})}
    )
    brain.tokenizer = Letters()
    nothing = {name: lambda *a, **k: None for name in ("update", "stage", "curves", "progress")}
    brain.run_log = SimpleNamespace(**nothing)
    brain.on_stage_start(Stage.TRAIN, 1)
    return brain
