"""The thesis's run files hold the thesis's numbers, and its model its parameters.

A. Umashankar, "Large Scale Speech Recognition with Deep Learning" (Aalto University, 2021),
appendix. What differs on purpose: blank, start and end tokens are three, not one.
"""

from typing import Any

import pytest
from torch.nn import Module

from recipes.common.hparams import load_run
from recipes.common.yaml_tree import tag_of
from tests.conftest import ROOT
from tests.consistency.run_files import view_of

THESIS = ROOT / "hparams" / "thesis"
SHARDS = {
    "train_80h": [0, 10],
    "train_200h": [0, 25],
    "train_2000h": [0, 250],
    "train_8000h": [0, 1000],
    "train_8000h_accumulation": [0, 1000],
    "train_8000h_ddp": [0, 1000],
    "train_26000h": None,
}
"""Of 2,500 shards of the 20,000 hours that could be aligned: 8 hours each."""
RUN = {
    **{"vocab_size": 5000, "token_type": "bpe", "train_tokenizer.character_coverage": 1.0},
    **{"max_batch_s": 180.0, "min_utterance_s": 1.0, "max_utterance_s": 60.0},
    **{"hours_wanted": None, "num_shards": {"train": 2500, "valid": 52, "test": 52}},
    **{"updates_per_epoch": 5000, "num_workers": 2, "num_epochs": 50},
    **{"lr": 1e-4, "update_schedule": None, "valid_schedule": None},
    **{"ctc_epochs": 15, "ctc_weight": 0.5, "label_smoothing": 0.1},
    **{"early_stopping.metric": "train_loss", "early_stopping.patience": 5},
    **{"valid_metric": "wer", "valid_mode": "min", "target_value": 19.74},
    **{"wav_augment": None, "fea_augment": None, "average_best_of": 1},
}
MODEL = {
    **{"rate_hz": 16000, "num_mels": 40, "n_fft": 400, "f_max_hz": 8000, "norm_type": "global"},
    **{"cnn_blocks": 2, "cnn_channels": [128, 256], "cnn_kernel": [3, 3], "cnn_pooling": [2, 2]},
    **{"time_pooling": 4, "rnn_layers": 4, "rnn_neurons": 512, "dropout": 0.15},
    **{"dnn_blocks": 2, "dnn_neurons": 256, "embedding_size": 128, "decoder_neurons": 512},
    **{"decoder_layers": 1, "attention_size": 512, "attention_channels": 10},
    **{"attention_kernel": 100, "attention_scaling": 1.0, "max_decode_ratio": 1.0},
    **{"beam_size": 80, "vocab_size": 5000, "blank_index": 0, "bos_index": 2, "eos_index": 3},
}
PARAMETERS = {
    "normalize": 0,
    "encoder": 32_894_336,
    "embedding": 640_000,
    "decoder": 2_831_322,
    "seq_head": 2_565_000,
    "ctc_head": 1_285_000,
}
TOTAL = 40_215_658
MELS, CHANNELS, LSTM, DNN, EMBEDDING, HIDDEN, VOCAB = 40, (128, 256), 512, 256, 128, 512, 5000
LSTM_INPUT = MELS // 2 // 2 * CHANNELS[1]


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The full model, as train.yaml has it for a corpus on disk."""
    folder = str(tmp_path_factory.mktemp("full_model"))
    words = [str(ROOT / "hparams" / "train.yaml"), "--data_folder", folder]
    run = load_run([*words, "--output_folder", folder])
    assert run.path.name == "train_bizspeech.yaml"
    return run.hparams["modules"]


def at(tree: Any, path: str) -> Any:
    for key in path.split("."):
        tree = tree[key]
    return tree


def test_every_thesis_run_file_is_listed():
    assert {path.stem for path in THESIS.glob("*.yaml")} == set(SHARDS)


@pytest.mark.parametrize("name", SHARDS)
def test_thesis_run_holds_the_thesis_values(load, name):
    tree = load(THESIS / f"{name}.yaml").tree
    factor = 4 if name.endswith("accumulation") else 1
    expected = {**RUN, "train_shards": SHARDS[name], "train_loader.shards": SHARDS[name]}
    expected |= {"grad_accumulation_factor": factor, "batches_per_epoch": 5000 * factor}
    expected |= {f"model.{key}": value for key, value in MODEL.items()}
    assert {key: at(tree, key) for key in expected} == expected
    for search in ("valid_search", "test_search"):
        assert tag_of(tree[search]).endswith(".S2SRNNGreedySearcher"), search
    assert tag_of(tree["opt_class"]) == "!name:torch.optim.Adam"
    assert tree["opt_class"]["lr"] == RUN["lr"]


def test_thesis_runs_share_their_shards_and_no_output():
    trees = [view_of(THESIS / f"{name}.yaml").tree for name in SHARDS]
    assert len({str(tree["output_folder"].value) for tree in trees}) == len(trees)
    assert len({tree["work_folder"] for tree in trees}) == 1


@pytest.mark.parametrize("name", [name for name in SHARDS if SHARDS[name]])
def test_thesis_shards_hold_the_hours_of_the_name(name):
    hours = int(name.split("_")[1].removesuffix("h"))
    assert SHARDS[name] == [0, hours * 2500 // 20_000]


def numel(module: Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_full_model_has_the_thesis_number_of_parameters(modules):
    assert {name: numel(module) for name, module in modules.items()} == PARAMETERS
    assert sum(PARAMETERS.values()) == TOTAL


def convolutions() -> int:
    """Two 3 x 3 convolutions a block, each with LayerNorm over frequency and channel."""
    total, channels, width = 0, 1, MELS
    for out in CHANNELS:
        total += 9 * channels * out + out + 9 * out * out + out
        total += 2 * 2 * width * out
        channels, width = out, width // 2
    return total


def lstm(inputs: int) -> int:
    """Both directions of a layer: four gates, two bias vectors each (as cuDNN has them)."""
    return 2 * 4 * LSTM * (inputs + LSTM + 2)


def linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def test_encoder_parameters_follow_from_its_sizes(modules):
    assert LSTM_INPUT == 2560
    assert lstm(LSTM_INPUT) == 12_591_104
    batch_norm = 2 * DNN
    dnn = linear(2 * LSTM, DNN) + linear(DNN, DNN) + 2 * batch_norm
    by_hand = convolutions() + lstm(LSTM_INPUT) + 3 * lstm(2 * LSTM) + dnn
    assert by_hand == PARAMETERS["encoder"]
    shapes = {tuple(parameter.shape) for parameter in modules["encoder"].parameters()}
    assert (4 * LSTM, LSTM_INPUT) in shapes


def test_decoder_and_heads_follow_from_their_sizes():
    attention = linear(DNN, HIDDEN) + linear(HIDDEN, HIDDEN) + HIDDEN  # keys, query, energy
    location = 10 * (2 * 100 + 1) + linear(10, HIDDEN)
    context = linear(DNN, HIDDEN) + linear(2 * HIDDEN, HIDDEN)
    gru = 3 * HIDDEN * (EMBEDDING + HIDDEN + HIDDEN + 2)
    assert attention + location + context + gru == PARAMETERS["decoder"]
    assert PARAMETERS["embedding"] == VOCAB * EMBEDDING
    assert linear(HIDDEN, VOCAB) == PARAMETERS["seq_head"]
    assert linear(DNN, VOCAB) == PARAMETERS["ctc_head"]
