"""Filter banks against Kaldi's as torchaudio has them, normalisation, SpecAugment."""

import pytest
import torch
from torchaudio.compliance.kaldi import fbank

from recipes.MuSTC.ST.conformer.features import FilterBanks, SpecAugment


def noise(num_samples, seed=0):
    generator = torch.Generator().manual_seed(seed)
    wave = 0.1 * torch.randn(num_samples, generator=generator)
    return wave * torch.linspace(0.1, 1.0, num_samples)


def batch_of(waves):
    return torch.nn.utils.rnn.pad_sequence(waves, batch_first=True), torch.tensor(
        list(map(len, waves))
    )


def test_filter_banks_equal_kaldis_of_each_utterance_normalised():
    waves = [noise(16000), noise(9999, 1), noise(400, 2)]
    feats, num_frames = FilterBanks()(*batch_of(waves))
    for number, wave in enumerate(waves):
        expected = fbank(wave[None] * 2**15, num_mel_bins=80, sample_frequency=16000.0)
        assert num_frames[number] == len(expected) == 1 + (len(wave) - 400) // 160
        variance = (expected.square().mean(0) - expected.mean(0).square()).clamp_min(1e-10)
        expected = (expected - expected.mean(0)) / variance.sqrt()
        found = feats[number, : len(expected)]
        if len(expected) > 1:
            assert torch.allclose(found, expected, atol=2e-3)
        assert not feats[number, len(expected) :].any()


@pytest.mark.parametrize("num_samples", range(8000, 8000 + 4 * 160, 160))
def test_features_of_an_utterance_do_not_depend_on_the_batch(num_samples):
    short, long = noise(num_samples + 37), noise(20000, 1)
    alone, num_alone = FilterBanks()(*batch_of([short]))
    together, num_frames = FilterBanks()(*batch_of([long, short]))
    assert num_frames[1] == num_alone[0]
    assert torch.allclose(together[1, : num_alone[0]], alone[0], atol=1e-5)


def test_filter_banks_of_silence_are_finite():
    feats, _ = FilterBanks()(torch.zeros(1, 4000), torch.tensor([4000]))
    assert feats.isfinite().all()
    assert feats.abs().max() < 1.0  # the rounding of the mean, over the least deviation


def test_filter_banks_stay_float32_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        feats, _ = FilterBanks()(*batch_of([noise(8000)]))
    plain, _ = FilterBanks()(*batch_of([noise(8000)]))
    assert feats.dtype == torch.float32
    assert torch.equal(feats, plain)


def test_filter_banks_too_short_utterance_is_an_error():
    with pytest.raises(ValueError, match="has 399 samples; expected at least one window of 400"):
        FilterBanks()(torch.zeros(2, 800), torch.tensor([800, 399]))


def test_spec_augment_masks_keep_to_their_bounds():
    torch.manual_seed(0)
    num_frames = torch.tensor([60, 35, 4])
    feats = torch.randn(3, 60, 20)
    feats = feats.masked_fill(torch.arange(60)[:, None] >= num_frames[:, None, None], 0.0)
    augment = SpecAugment(num_freq_masks=1, max_freq_bins=6, num_time_masks=1, max_time_frames=10)
    widths_seen = set()
    for _ in range(1000):
        hidden = augment(feats, num_frames) != feats
        for number, length in enumerate(num_frames.tolist()):
            assert not hidden[number, length:].any()
            freq = hidden[number, :length].all(0).sum().item()
            time = hidden[number, :length].all(1).sum().item()
            is_whole = time == length
            assert freq <= 5 or is_whole
            assert time <= min(9, length - 1)
            widths_seen.add((number, time))
    assert {(0, 0), (0, 9), (1, 9), (2, 3)} <= widths_seen


def test_spec_augment_fills_with_the_mean_of_the_utterance():
    torch.manual_seed(1)
    feats = torch.randn(1, 50, 8) + 3.0
    augmented = SpecAugment(max_freq_bins=4, max_time_frames=20)(feats, torch.tensor([50]))
    changed = augmented[augmented != feats]
    assert len(changed)
    assert torch.allclose(changed, feats.mean().expand_as(changed), atol=1e-5)
