"""SpecAugment's widths and places, and the speed of each utterance."""

import pytest
import torch

from recipes.LibriSpeech.ASR.transducer.augment import (
    Masks,
    SpecAugment,
    SpeedPerturb,
    _resampler,
    resample,
)


def widths_along(masked, dim):
    """Return how many zeros lie along a dimension of [B, M, T], where all others are masked."""
    return (masked == 0).all(dim=dim).sum(1)


def test_spec_augment_widths_are_uniform_from_zero_to_their_maximum():
    torch.manual_seed(0)
    augment = SpecAugment(freq_masks=1, time_masks=1)
    masked = augment(torch.ones(2000, 80, 400), torch.full((2000,), 300))
    bands = widths_along(masked, 2).bincount(minlength=21)
    frames = widths_along(masked, 1).bincount(minlength=10)
    assert len(bands) == 21 and len(frames) == 10  # 0..20 and 0..round(0.03 * 300)
    assert (bands / 2000 - 1 / 21).abs().max() < 0.02
    assert (frames / 2000 - 1 / 10).abs().max() < 0.03


def test_spec_augment_vectorised_equals_looped():
    torch.manual_seed(1)
    augment = SpecAugment()
    mels, lengths = torch.rand(7, 80, 333) + 1, torch.tensor([333, 300, 17, 1, 50, 120, 333])
    draws = augment.draw(7, mels.device)
    assert torch.equal(
        augment.vectorised(mels, lengths, draws), augment.looped(mels, lengths, draws)
    )


def test_spec_augment_masks_reach_both_ends():
    ends = torch.tensor([[0.0], [1 - 1e-12]], dtype=torch.float64)
    draws = Masks(ends.flip(0).new_full((2, 1), 1 - 1e-12), ends, ends[:, :0], ends[:, :0])
    masked = SpecAugment(freq_masks=1, time_masks=0).vectorised(
        torch.ones(2, 80, 5), torch.tensor([5, 5]), draws
    )
    assert (masked[0, :20] == 0).all() and (masked[0, 20:] == 1).all()
    assert (masked[1, 60:] == 0).all() and (masked[1, :60] == 1).all()


def test_speed_factors_are_uniform_and_those_of_utterance_and_pass():
    speed = SpeedPerturb(seed=3)
    ids = [f"utterance-{number}" for number in range(1000)]
    percents = torch.tensor(speed.percents(ids, 0)).float()
    assert percents.min() >= 85 and percents.max() <= 115
    assert percents.mean().item() / 100 == pytest.approx(1.0, abs=0.01)
    assert speed.percents(ids[5:9], 0) == percents[5:9].int().tolist()
    assert speed.percents(ids, 1) != percents.int().tolist()
    assert SpeedPerturb(seed=4).percents(ids, 0) != percents.int().tolist()


def test_speed_lengths_are_rounded_up_and_padding_stays_zero():
    wavs = torch.randn(4, 3001)
    lengths = [3001, 1000, 2999, 1]
    for place, length in enumerate(lengths):
        wavs[place, length:] = 0.0
    out, new = SpeedPerturb()(wavs, lengths, [115, 85, 100, 97])
    assert new == [3452, 850, 2999, 1]
    assert out.shape == (4, 3452)
    for row, length in zip(out, new, strict=True):
        assert (row[length:] == 0).all()
    assert torch.equal(out[2, :2999], wavs[2, :2999])


def test_speed_below_one_raises_the_pitch():
    seconds = torch.arange(16000) / 16000
    tone = torch.sin(2 * torch.pi * 1000 * seconds)[None]
    fast = resample(tone, 85)[0]
    spectrum = torch.fft.rfft(fast * torch.hann_window(len(fast))).abs()
    assert spectrum.argmax().item() * 16000 / len(fast) == pytest.approx(1000 / 0.85, abs=3)


def test_speed_filters_are_small():
    # Off the grid of hundredths a filter bank has gigabytes.
    assert max(_resampler(percent, "cpu").kernel.numel() for percent in range(85, 100)) < 100_000
    assert max(_resampler(percent, "cpu").kernel.numel() for percent in range(101, 116)) < 100_000


def test_speed_bounds_are_checked():
    with pytest.raises(ValueError, match="bounds 1.2, 0.9"):
        SpeedPerturb((1.2, 0.9))
