"""Features by their formulae."""

import math

import pytest
import torch

from recipes.LibriSpeech.wav2letter.features import Mfsc, count_frames


def noise(seconds: float, *, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(1, int(16000 * seconds), generator=generator)


def triangles(num_filters: int) -> torch.Tensor:
    """Triangular filters, equally spaced in 2595 log10(1 + f / 700), linear in Hz."""
    top = 2595 * math.log10(1 + 8000 / 700)
    edges = [700 * (10 ** (top * i / (num_filters + 1) / 2595) - 1) for i in range(num_filters + 2)]
    hz = torch.linspace(0, 8000, 257, dtype=torch.float64)
    columns = []
    for low, mid, high in zip(edges, edges[1:], edges[2:], strict=False):
        sides = torch.stack([(hz - low) / (mid - low), (high - hz) / (high - mid)])
        columns.append(sides.amin(0).clamp_min(0))
    return torch.stack(columns, dim=1)


@pytest.mark.parametrize("num_filters", [40, 80])
def test_filters_equal_the_formula(num_filters):
    filters = Mfsc(num_filters=num_filters).filters
    assert (filters - triangles(num_filters)).abs().max() < 1e-5


def test_frame_equals_the_formula():
    wav = noise(0.03)
    samples = wav[0, :400].double() * 32768
    emphasised = torch.cat([samples[:1] * (1 - 0.97), samples[1:] - 0.97 * samples[:-1]])
    places = torch.arange(400, dtype=torch.float64)
    window = 0.54 - 0.46 * torch.cos(2 * math.pi * places / 399)
    spectrum = torch.fft.rfft(emphasised * window, n=512).abs()
    expected = (spectrum @ triangles(40)).clamp_min(1).log()
    assert torch.allclose(Mfsc(num_filters=40).log_mel(wav)[0, 0].double(), expected, atol=1e-4)


def test_three_seconds_have_298_frames_and_short_signals_one():
    feats, num_frames = Mfsc(num_filters=40)(noise(3.0), torch.ones(1))
    assert feats.shape == (1, 298, 40)
    assert num_frames.tolist() == [298]
    assert count_frames(torch.tensor([0, 399, 400, 559, 560])).tolist() == [1, 1, 1, 1, 2]
    assert Mfsc(num_filters=40)(noise(0.01), torch.ones(1))[0].shape == (1, 1, 40)


def test_silence_is_zero():
    mfsc = Mfsc(num_filters=40)
    assert not mfsc.log_mel(torch.zeros(1, 1600)).any()
    assert not mfsc(torch.zeros(1, 1600), torch.ones(1))[0].any()


def test_one_mean_and_one_deviation_for_all_bands():
    feats, _ = Mfsc(num_filters=80)(noise(2.0), torch.ones(1))
    assert abs(float(feats.mean())) < 1e-5
    assert float(feats.std(correction=0)) == pytest.approx(1, abs=1e-4)
    assert feats.mean((0, 1)).abs().max() > 0.1


def padded_pair() -> tuple[torch.Tensor, torch.Tensor]:
    short = noise(1.0)
    long = noise(2.0, seed=1)
    wavs = torch.cat([torch.nn.functional.pad(short, (0, 16000)), long])
    return wavs, torch.tensor([0.5, 1.0])


def test_padding_changes_nothing_by_default_and_much_with_the_switch():
    wavs, lens = padded_pair()
    alone, num_frames = Mfsc(num_filters=40)(wavs[:1, :16000], torch.ones(1))
    feats, counts = Mfsc(num_filters=40)(wavs, lens)
    assert counts.tolist() == [int(num_frames), 198]
    assert torch.allclose(feats[0, : int(num_frames)], alone[0], atol=1e-5)
    assert not feats[0, int(num_frames) :].any()
    original, _ = Mfsc(num_filters=40, norm_on_padding=True)(wavs, lens)
    assert (original[0, : int(num_frames)] - alone[0]).abs().mean() > 0.1
    assert torch.allclose(original[1], feats[1], atol=1e-5)


def test_features_are_float32_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        feats, _ = Mfsc(num_filters=40)(noise(0.5), torch.ones(1))
    assert feats.dtype == torch.float32
    assert torch.equal(feats, Mfsc(num_filters=40)(noise(0.5), torch.ones(1))[0])
