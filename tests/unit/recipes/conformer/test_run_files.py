"""The published commands, option by option, as the run files have them."""

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml

from recipes.common.hparams import load_run
from tests.unit.recipes.conformer.models import MODEL, SIZES

FOLDER = MODEL.parents[1]
OF_MODEL = ("subsampler_size", "d_model", "num_heads", "d_ffn", "num_blocks", "ctc_block")


def load(name, tmp_path, **options):
    """A run file with a model that is built at once."""
    words = {f"model.{key}": SIZES[key] for key in OF_MODEL} | {"output_folder": tmp_path}
    words |= {"data_folder": tmp_path / "corpus"} | options
    command = [str(FOLDER / name)]
    for key, value in words.items():
        command += [f"--{key}", str(value)]
    return load_run(command).hparams


def frames_per_update(hparams, ranks):
    return 100 * hparams["max_batch_s"] * hparams["grad_accumulation_factor"] * ranks


def test_training_is_the_published_one(tmp_path):
    hparams = load("train.yaml", tmp_path)
    published = {
        "ctc_weight": 0.5, "label_smoothing": 0.1, "normalize_by": "source_tokens",
        "max_grad_norm": 10.0, "max_updates": 200_000, "num_warmup": 25_000, "seed": 1,
        "source_vocab_size": 5000, "target_vocab_size": 8000, "batch_multiple": 8,
        "keep_batches": True, "precision": "fp32", "average_best_of": 7, "average_by": "time",
        "valid_metric": "loss", "compress_start_step": 0,
    }  # fmt: skip
    assert {key: hparams[key] for key in published} == published
    assert hparams["early_stopping"].patience == 30
    assert hparams["early_stopping"].metric == "loss"
    assert frames_per_update(hparams, ranks=1) == hparams["frames_per_update"] == 320_000
    assert hparams["batches_per_epoch"] == 1000 * hparams["grad_accumulation_factor"]
    rates = [hparams["update_schedule"](update) for update in (0, 12_500, 25_000, 100_000)]
    assert rates == pytest.approx([0.0, 1e-3, 2e-3, 1e-3])
    optimizer = hparams["opt_class"]([torch.nn.Parameter(torch.zeros(1))])
    assert isinstance(optimizer, torch.optim.Adam)
    assert optimizer.defaults["betas"] == (0.9, 0.98)
    assert (optimizer.defaults["eps"], optimizer.defaults["weight_decay"]) == (1e-8, 0)


def test_model_is_the_published_one():
    with torch.device("meta"), MODEL.open(encoding="utf-8") as file:
        model = load_hyperpyyaml(file)
    published = {
        "block": "conformer", "subsampler_size": 1024, "d_model": 512, "num_heads": 8,
        "d_ffn": 2048, "kernel": 31, "dropout": 0.1, "num_blocks": 12, "ctc_block": 8,
        "compress": "avg", "decoder_layers": 6, "beam_size": 5, "max_target_tokens": 200,
        "no_repeat_ngram": 5,
    }  # fmt: skip
    assert {key: model[key] for key in published} == published


def test_four_ranks_make_the_same_update(tmp_path):
    hparams = load("train_ddp.yaml", tmp_path)
    assert frames_per_update(hparams, ranks=4) == hparams["frames_per_update"] == 320_000
    assert hparams["max_batch_s"] == 400.0
    assert hparams["grad_accumulation_factor"] == 2
    assert hparams["batches_per_epoch"] == 1000 * 2


def test_fine_tuning_has_a_constant_rate_and_other_parameters(tmp_path):
    hparams = load("finetune.yaml", tmp_path, init_folder=tmp_path / "old")
    assert hparams["update_schedule"] is None
    assert hparams["lr"] == 1e-3
    assert hparams["init_folder"] == str(tmp_path / "old")
    assert hparams["early_stopping"].patience == 30


@pytest.mark.parametrize(("alpha", "temperature"), [(1.0, 1.0), (0.5, 2.0)])
def test_several_sets_are_sampled_by_alpha(tmp_path, alpha, temperature):
    options = {"other_folder": tmp_path / "other", "sampling_alpha": alpha}
    hparams = load("several_sets.yaml", tmp_path, **options)
    assert hparams["train_loader"].keywords["temperature"] == pytest.approx(temperature)
    assert hparams["tokenizer"].keywords["tag"] == "origin"
    assert hparams["tokenizer"].keywords["tag_form"] == "prefix"
