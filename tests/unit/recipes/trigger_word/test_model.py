"""Sizes, causality and streaming of the detector."""

import pytest
import torch
from speechbrain.processing.features import InputNormalization

from recipes.TriggerWord.Detection.conv_gru import model
from recipes.TriggerWord.Detection.conv_gru.model import ConvGruDetector
from recipes.TriggerWord.Detection.conv_gru.spectrogram import PowerSpectrogram, Unchanged
from recipes.TriggerWord.Detection.conv_gru.streaming import StreamingDetector

SMALL = {"conv_channels": 32, "gru_units": 32}


def numel(tensors) -> int:
    return sum(tensor.numel() for tensor in tensors)


def trained(**sizes) -> ConvGruDetector:
    """A detector whose norms have seen data."""
    torch.manual_seed(0)
    detector = ConvGruDetector(**{**SMALL, **sizes})
    for _ in range(3):
        detector(torch.randn(4, 60, 101))
    return detector.eval()


@pytest.mark.parametrize(
    ("num_samples", "num_frames", "num_steps"),
    [
        (441_000, 5511, 1375),
        (88_200, 1101, 272),
        (16_000, 198, 46),
        (160_000, 1998, 496),
        (9, 0, 0),
    ],
)
def test_lengths_are_those_of_the_formulas(num_samples, num_frames, num_steps):
    assert PowerSpectrogram().num_frames(num_samples) == num_frames
    assert ConvGruDetector(**SMALL).num_steps(num_frames) == num_steps


def test_forward_gives_a_logit_for_each_step():
    assert trained()(torch.randn(2, 198, 101)).shape == (2, 46)


def test_parameters_are_those_of_the_original_and_a_second_bias():
    detector = ConvGruDetector()
    keras = 101 * 196 * 15 + 196  # convolution
    keras += 2 * (196 + 128 + 128)  # norms
    keras += 3 * 128 * (196 + 128 + 1) + 3 * 128 * (128 + 128 + 1)  # GRU layers
    keras += 128 + 1
    assert keras == 521_657
    assert numel(detector.parameters()) == keras + 2 * 3 * 128 == 522_425
    assert numel(detector.buffers()) == 2 * (196 + 128 + 128) + 3 == 907
    assert numel(ConvGruDetector(**SMALL).parameters()) == 61_409


def test_output_does_not_depend_on_what_comes_later():
    detector = trained()
    feats = torch.randn(1, 199, 101)
    other = feats.clone()
    other[:, 100:] += 1.0
    with torch.no_grad():
        before, after = detector(feats), detector(other)
    seen = (100 - detector.kernel) // detector.stride + 1  # steps of frames before 100 only
    torch.testing.assert_close(before[:, :seen], after[:, :seen], rtol=0, atol=1e-6)
    assert (before[:, seen:] != after[:, seen:]).all()


@pytest.mark.parametrize("norm", ["batch", "layer"])
@pytest.mark.parametrize("piece", [1, 37, 80, 4000])
def test_stream_equals_the_whole_clip(norm, piece):
    detector, spectrogram = trained(norm=norm).double(), PowerSpectrogram()
    normalize = InputNormalization(norm_type="global")
    wavs = 0.1 * torch.randn(2, 4321, dtype=torch.float64)
    normalize(spectrogram(wavs))
    stream = StreamingDetector(spectrogram, normalize, detector)
    with torch.no_grad():
        whole = detector(normalize.eval()(spectrogram(wavs), epoch=1)).sigmoid()
    assert whole.shape[1] > 8
    for _ in range(2):
        pieces = [stream.feed(part) for part in wavs.split(piece, dim=1)]
        torch.testing.assert_close(torch.cat(pieces, 1), whole.float(), rtol=0, atol=1e-6)
        stream.reset()


def test_stream_refuses_statistics_of_the_clip():
    with pytest.raises(ValueError, match="norm_type is 'sentence'"):
        StreamingDetector(
            PowerSpectrogram(), InputNormalization(norm_type="sentence"), ConvGruDetector(**SMALL)
        )
    StreamingDetector(PowerSpectrogram(), Unchanged(), ConvGruDetector(**SMALL))


def test_glorot_matrices_are_orthogonal_and_bounded():
    torch.manual_seed(0)
    detector = ConvGruDetector(initialisation="glorot")
    recurrent = detector.gru_2.weight_hh_l0
    torch.testing.assert_close(recurrent.T @ recurrent, torch.eye(128), rtol=0, atol=1e-5)
    bound = (6 / (101 * 15 + 196 * 15)) ** 0.5
    assert 0.99 * bound < detector.conv.weight.abs().max() <= bound
    assert not detector.gru_1.bias_hh_l0.any()
    assert not detector.head.bias.any()


def test_initial_weights_are_those_of_a_checkpoint(tmp_path):
    first = trained()
    torch.save(torch.nn.ModuleDict({"detector": first}).state_dict(), tmp_path / "model.ckpt")
    second = ConvGruDetector(**SMALL, initial_weights=str(tmp_path / "model.ckpt"))
    for key, value in first.state_dict().items():
        assert torch.equal(second.state_dict()[key], value), key
    with pytest.raises(ValueError, match="of another detector"):
        ConvGruDetector(conv_channels=8, initial_weights=str(tmp_path / "model.ckpt"))
    with pytest.raises(FileNotFoundError, match="initial_weights"):
        ConvGruDetector(**SMALL, initial_weights=str(tmp_path / "none.ckpt"))


def test_bf16_logits_are_near_and_gru_falls_back_where_there_is_no_kernel(monkeypatch):
    detector, feats = trained(), torch.randn(2, 99, 101)
    with torch.no_grad():
        exact = detector(feats)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = detector(feats)
            monkeypatch.setattr(model, "gru_runs_in", lambda *_: False)
            island = detector(feats)
    for found in (half, island):
        torch.testing.assert_close(found.float(), exact, rtol=0.1, atol=0.05)
    assert not torch.equal(half, island)
