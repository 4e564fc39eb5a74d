"""The run files hold the values of the original recipes, and none of its faults."""

import inspect

import pytest

from data_prepare.librispeech import SUBSETS, LibriSpeechOptions
from recipes.LibriSpeech.wav2letter.preparation.prepare import prepare_decoding
from tests.conftest import ROOT
from tests.consistency.run_files import view_of

RECIPES = ROOT / "recipes" / "LibriSpeech" / "ASR"
LETTERS = {
    **{"batch_utterances": 4, "lr": 0.6, "lr_criterion": 0.006, "momentum": 0.8},
    **{"max_grad_norm": 0.2, "linseg_epochs": 1, "replabel": 2, "surround": "|"},
    **{"num_tokens": 30, "model.transdiag": 4.0, "model.asg_scale": "target_sqrt"},
    **{"model.num_filters": 40},
}
ORIGINAL = {
    "conv_glu": LETTERS,
    "lexicon_free": {**LETTERS, "num_epochs": 25 + 7 + 70},
    "seq2seq_tds": {
        **{"batch_utterances": 16, "lr": 0.05, "momentum": 0.0, "max_grad_norm": 15.0},
        **{"num_epochs": 200, "step_epochs": 40, "pretrain_window_epochs": 3, "softw_std": 4.0},
        **{"pct_teacher_forcing": 99, "label_smoothing": 0.05, "sample_target": 0.01},
        **{"vocab_size": 10_000, "model.num_filters": 80, "model.dropout": 0.2},
        **{"model.max_tokens": 120},
    },
}
FAULTS = {
    "conv_glu": {"norm_on_padding": False, "asg_use_lengths": True},
    "seq2seq_tds": {
        **{"norm_on_padding": False, "ln_over_padding": False},
        **{"train_on_target_padding": False},
    },
}
FAULTS["lexicon_free"] = FAULTS["conv_glu"]


@pytest.mark.parametrize("name", ORIGINAL)
@pytest.mark.parametrize("run_file", ["train", "train_ddp"])
def test_run_file_holds_the_values_of_the_original_without_its_faults(name, run_file):
    tree = view_of(RECIPES / name / "hparams" / f"{run_file}.yaml").tree
    common = {"nominal_batch": None, "amp_policy": "w2l", "precision": "fp32"}
    for key, value in {**ORIGINAL[name], **FAULTS[name], **common}.items():
        *places, last = key.split(".")
        node = tree
        for place in places:
            node = node[place]
        assert node[last] == value, key


@pytest.mark.parametrize("name", [*ORIGINAL, "../LM/conv_lm"])
def test_decoding_is_prepared_from_the_splits_of_the_run_file(name):
    corpus = view_of(RECIPES / name / "hparams" / "train.yaml").tree["corpus"]
    places = LibriSpeechOptions(merge=dict(corpus["merge"])).split_of_subset
    splits = {places.get(subset, subset) for subset in SUBSETS}
    options = inspect.signature(prepare_decoding).parameters
    assert options["train_splits"].default == (corpus["train_split"],)
    assert corpus["valid_split"] in options["valid_splits"].default
    assert options["test_splits"].default == tuple(corpus["test_splits"])
    kinds = ("train_splits", "valid_splits", "test_splits")
    assert {split for kind in kinds for split in options[kind].default} == splits
