"""The run files hold the values of the original recipes, and none of its faults."""

import inspect
from copy import deepcopy

import pytest

from data_prepare.librispeech import SUBSETS, LibriSpeechOptions
from recipes.common.hparams import load_run
from recipes.common.yaml_tree import to_text
from recipes.LibriSpeech.wav2letter.preparation.prepare import prepare_decoding
from tests.conftest import ROOT
from tests.consistency.run_files import fillings, view_of

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
TINY = {
    "conv_glu": {"channels": "[8, 8]", "kernels": "[5, 5]", "hidden": 8},
    "seq2seq_tds": {"tds_channels": "[2, 2, 2]", "decoder_size": 8},
}
TINY["lexicon_free"] = TINY["conv_glu"]
CONV_GLU, LOW = (0.6, 0.006, 0.2), (0.1, 0.001, 0.25)
PHASES = {
    "conv_glu": {1: CONV_GLU, 26: CONV_GLU, 37: CONV_GLU},
    "lexicon_free": {
        **{1: CONV_GLU, 25: CONV_GLU, 26: LOW, 32: LOW, 33: LOW, 36: LOW},
        **{37: (0.09, 0.0009, 0.25), 41: (0.081, 0.00081, 0.25)},
    },
    "seq2seq_tds": {1: (0.05, 0.05, 15), 40: (0.05, 0.05, 15), 41: (0.025, 0.025, 15)},
}
"""Rate, rate of the criterion and bound of the norm in some epochs."""


@pytest.mark.parametrize("name", ORIGINAL)
@pytest.mark.parametrize("run_file", ["train", "train_ddp"])
def test_run_file_holds_the_values_of_the_original_without_its_faults(name, run_file):
    tree = view_of(RECIPES / name / "hparams" / f"{run_file}.yaml").tree
    common = {"nominal_batch": None, "amp_policy": "w2l", "precision": "fp32", "allow_tf32": False}
    for key, value in {**ORIGINAL[name], **FAULTS[name], **common}.items():
        *places, last = key.split(".")
        node = tree
        for place in places:
            node = node[place]
        assert node[last] == value, key


@pytest.mark.parametrize("name", PHASES)
def test_run_file_has_the_phases_and_the_tokens_of_the_original(name, tmp_path):
    path = RECIPES / name / "hparams" / "train.yaml"
    tiny = [f"--model.{key}={value}" for key, value in TINY[name].items()]
    options = ["--output_folder", str(tmp_path), *fillings(path, tmp_path), *tiny]
    hparams = load_run([str(path), *options]).hparams
    assert hparams["num_tokens"] == (9998 if name == "seq2seq_tds" else 30)
    for epoch, expected in PHASES[name].items():
        plan = hparams["phases"].at(epoch)
        assert (plan.lr, plan.lr_criterion, plan.max_grad_norm) == pytest.approx(expected)
        assert plan.is_linear == (epoch == 1 and name != "seq2seq_tds")


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


def test_one_preparation_serves_all_recipes_and_the_commands_of_their_readmes():
    names = [*ORIGINAL, "transducer", "../LM/conv_lm"]
    trees = [view_of(RECIPES / name / "hparams" / "train.yaml").tree for name in names]
    given = [deepcopy(tree["corpus"]) for tree in trees]
    for corpus in given:
        corpus["num_jobs"] = 1  # changes nothing of what is made
    assert len({to_text(corpus) for corpus in given}) == 1
    assert {tree["work_folder"] for tree in trees} == {"work/librispeech"}
    options = LibriSpeechOptions()
    assert (options.min_duration_s, options.min_chars_per_s) == (0.0, 0.0)
    # Speech has 10 to 20 characters a second, LibriSpeech's longest utterance 35 s.
    assert options.max_chars_per_s >= 1000.0 and options.max_duration_s >= 40.0
    commands = [
        line
        for name in ("README.md", "recipes/LibriSpeech/wav2letter/decoding/README.md")
        for line in (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
        if line.startswith("python -m data_prepare.librispeech ")
    ]
    merged = f"--merge train={given[0]['merge']['train']}"
    assert len(commands) == 2
    assert all(merged in command and "chars" not in command for command in commands)
