"""Sizes and first values of the benchmark's model, and what its parts compute."""

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml

from recipes.LibriSpeech.ASR.transducer.lstm import LSTMInit, LSTMStack, stack_time
from recipes.LibriSpeech.ASR.transducer.model import Encoder, Joint, Predictor
from tests.conftest import ROOT
from tests.unit.recipes.transducer.tiny import tiny_model

BLOCKS = {
    "encoder.pre_rnn": 13_582_336,
    "encoder.post_rnn": 29_384_704,
    "encoder.joint_enc": 524_800,
    "predictor.embed": 523_776,
    "predictor.dec_rnn": 4_202_496,
    "predictor.joint_pred": 262_656,
    "joint.joint_net": 525_312,
}


def full_model(**options):
    with torch.device("meta"):
        return torch.nn.ModuleDict(
            {
                "encoder": Encoder(**options),
                "predictor": Predictor(num_tokens=1023),
                "joint": Joint(num_classes=1024),
            }
        )


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_full_model_has_the_benchmarks_parameters():
    model = full_model()
    assert {name: count(model.get_submodule(name)) for name in BLOCKS} == BLOCKS
    assert count(model) == 49_006_080
    assert len(list(model.parameters())) == 35


def test_full_model_with_padded_input_has_the_submissions_parameters():
    model = full_model(in_feats=256)
    assert count(model.get_submodule("encoder.pre_rnn")) == 13_647_872
    assert count(model) == 49_071_616


def test_yaml_gives_the_benchmarks_model():
    path = ROOT / "recipes/LibriSpeech/ASR/transducer/hparams/model/transducer.yaml"
    with path.open(encoding="utf-8") as file:
        loaded = load_hyperpyyaml(file, {"vocab_size": 1023})
    assert sum(count(module) for module in loaded["modules"].values()) == 49_006_080


def test_lstm_init_sets_forget_biases_and_scales():
    torch.manual_seed(0)
    plain = torch.nn.LSTM(30, 20, 2)
    torch.manual_seed(0)
    stack = LSTMStack(30, 20, num_layers=2, dropout=0.0, init=LSTMInit()).lstm
    for layer in range(2):
        total = getattr(stack, f"bias_ih_l{layer}") + getattr(stack, f"bias_hh_l{layer}")
        assert torch.equal(total[20:40], torch.full((20,), 0.5))
    for name, theirs in plain.named_parameters():
        others = torch.ones(len(theirs), dtype=torch.bool)
        if name.startswith("bias"):
            others[20:40] = False  # the forget gates'
        assert torch.equal(stack.get_parameter(name)[others], 0.5 * theirs[others]), name


def test_lstm_dropout_follows_the_last_layer():
    stack = LSTMStack(4, 200, num_layers=1, dropout=0.5, init=LSTMInit())
    out, _ = stack(torch.ones(1, 1, 4))
    assert 50 < int((out == 0).sum()) < 150


def test_stack_time_joins_neighbours_and_pads():
    x = torch.arange(10.0).reshape(5, 1, 2)
    stacked = stack_time(x, 2)
    assert stacked.shape == (3, 1, 4)
    assert stacked[0, 0].tolist() == [0, 1, 2, 3]
    assert stacked[2, 0].tolist() == [8, 9, 0, 0]


def test_encoder_lengths_are_rounded_up():
    model = tiny_model()
    out, steps = model.encoder(torch.zeros(7, 2, 12), torch.tensor([7, 4]))
    assert out.shape == (2, 4, 10)
    assert steps.tolist() == [4, 2]


def test_predictor_begins_with_zeros_and_steps_as_a_whole():
    model = tiny_model()
    predictor = model.predictor.eval()
    tokens = torch.tensor([[3, 5, 1], [2, 0, 0]])
    whole = predictor(tokens)
    out, state = predictor.start(2)
    assert torch.allclose(out, whole[:, 0], atol=1e-6)
    for place in range(3):
        out, state = predictor.step(tokens[:, place], state)
        assert torch.allclose(out, whole[:, place + 1], atol=1e-6)


@pytest.mark.parametrize("loss", ["dense", "torchaudio"])
def test_reference_and_fast_model_give_the_same_loss(loss):
    feats = torch.randn(60, 3, 12, generator=torch.Generator().manual_seed(5))
    frames, num_tokens = [60, 35, 20], torch.tensor([4, 2, 1])
    tokens = torch.randint(0, 8, (3, 4), generator=torch.Generator().manual_seed(6))
    losses = []
    for name, split in ((loss, None), ("packed", frames)):
        model = tiny_model(loss=name)
        enc, steps = model.encoder(feats, torch.tensor(frames), host_frames=split)
        pred = model.predictor(tokens)
        found = model.joint(enc, pred, tokens, num_steps=steps, num_tokens=num_tokens)
        found.sum().backward()
        grads = [model.encoder.pre_rnn.lstm.weight_ih_l0.grad, model.predictor.embed.weight.grad]
        losses.append((found.detach(), *grads))
    for ours, theirs in zip(*losses, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-4)
