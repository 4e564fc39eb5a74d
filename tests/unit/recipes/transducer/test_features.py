"""The front end equals the definitions, utterance by utterance in NumPy, and DALI's operators."""

import json
import math

import numpy as np
import pytest
import torch
import torchaudio

from recipes.LibriSpeech.ASR.transducer.features import (
    FrontEnd,
    centred_hann,
    host_frames,
    splice,
    trim_silence,
)
from tests.unit.recipes.transducer.dali_features import EVERY, GOLDEN, by_dali, waveform

RATE_HZ = 16000


def utterance(seconds=0.9, *, silence_s=0.2, seed=0):
    """Return a chirp with noise, silent at both ends."""
    time = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    noise = np.random.default_rng(seed).standard_normal(len(time))
    loud = 0.3 * np.sin(2 * math.pi * (200 * time + 1500 * time**2)) + 0.01 * noise
    silence = np.zeros(int(silence_s * RATE_HZ))
    return np.concatenate([silence, loud, silence]).astype(np.float32)


def batch_of(waves):
    lengths = [len(wave) for wave in waves]
    padded = torch.zeros(len(waves), max(lengths))
    for place, wave in enumerate(waves):
        padded[place, : len(wave)] = torch.from_numpy(wave)
    return padded, torch.tensor(lengths)


def trimmed(wave):
    """Return the first and last kept sample by the rule, as it is written."""
    squares = np.concatenate([np.zeros(2047), wave.astype(np.float64) ** 2])
    mean = np.convolve(squares, np.ones(2048) / 2048, mode="valid")
    with np.errstate(divide="ignore"):
        level = 10 * np.log10(mean / mean.max())
    loud = np.flatnonzero(level >= -60.0)
    return max(0, loud[0] - 2047), min(len(wave), loud[-1] + 1)


def expected(wave):
    """Return [80, T] features of one utterance in float64."""
    first, last = trimmed(wave)
    x = wave[first:last].astype(np.float64)
    y = x - 0.97 * np.concatenate([x[:1], x[:-1]])
    padded = np.pad(y, 256, mode="reflect")
    window = np.zeros(512)
    window[96:416] = 0.5 * (1 - np.cos(2 * math.pi * (np.arange(320) + 0.5) / 320))
    starts = range(0, len(padded) - 511, 160)
    power = np.abs([np.fft.rfft(padded[s : s + 512] * window) for s in starts]) ** 2
    bands = torchaudio.functional.melscale_fbanks(
        257, 0.0, 8000.0, 80, RATE_HZ, norm="slaney", mel_scale="slaney"
    ).double()
    mels = np.log(np.maximum(power @ bands.numpy(), 1e-20)).T
    return (mels - mels.mean(1, keepdims=True)) / mels.std(1, keepdims=True)


@pytest.fixture
def front_end():
    return FrontEnd(dither=0.0)


def test_features_of_a_padded_batch_equal_the_definition(front_end):
    waves = [utterance(), utterance(0.5, seed=1), utterance(0.7, silence_s=0.0, seed=2)]
    mels, num_frames = front_end(*batch_of(waves))
    for place, wave in enumerate(waves):
        oracle = expected(wave)
        assert num_frames[place] == oracle.shape[1]
        own = mels[place, :, : oracle.shape[1]].double().numpy()
        assert np.abs(own - oracle).max() < 2e-3
        assert np.abs(own - oracle).mean() < 1e-4
        assert (mels[place, :, oracle.shape[1] :] == 0).all()


def ours(front_end):
    """Return begin and length of what is not silent, log-mels and normalised log-mels [80, T]."""
    wave = waveform()
    wavs, lengths = batch_of([wave])
    moved, length = trim_silence(wavs, lengths, level_db=-60.0)
    begin, _ = trimmed(wave)
    assert torch.equal(moved[0, : int(length)], wavs[0, begin : begin + int(length)])
    logs, num_frames = front_end.log_mels(moved, length)
    mels, _ = front_end(wavs, lengths)
    return begin, int(length), *(m[0, :, : int(num_frames)].numpy() for m in (logs, mels))


def test_features_equal_stored_values_of_dali(front_end):
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    begin, length, logs, mels = ours(front_end)
    assert (begin, length, logs.shape[1]) == (
        golden["begin"], golden["length"], golden["num_frames"]
    )  # fmt: skip
    assert np.abs(logs[:, ::EVERY] - golden["log_mels"]).max() < 1e-4
    assert np.abs(mels[:, ::EVERY] - golden["normalised"]).max() < 1e-4


def test_features_equal_dalis(front_end):
    pytest.importorskip("nvidia.dali", reason="DALI is not installed: see dali_features.py")
    theirs = by_dali(waveform())
    own = ours(front_end)
    assert own[:2] == theirs[:2]
    for mine, other in zip(own[2:], theirs[2:], strict=True):
        assert np.abs(mine - other).max() < 1e-4


def test_features_number_of_frames(front_end):
    front_end.trim_db = None
    for num in (1, 159, 160, 320, 16001):
        mels, frames = front_end(torch.randn(1, num), torch.tensor([num]))
        assert mels.shape[2] == int(frames) == 1 + num // 160


def test_features_have_mean_zero_and_variance_one(front_end):
    mels, num_frames = front_end(*batch_of([utterance()]))
    own = mels[0, :, : int(num_frames[0])]
    assert own.mean(1).abs().max() < 1e-4
    assert (own.std(1, correction=0) - 1).abs().max() < 1e-3


def test_features_of_silence_are_finite_zeros(front_end):
    mels, _ = front_end(torch.zeros(1, 4000), torch.tensor([4000]))
    assert (mels == 0).all()


def test_trim_equals_the_rule():
    waves = [utterance(), utterance(0.4, silence_s=0.3, seed=3), utterance(0.3, silence_s=0.0)]
    moved, lengths = trim_silence(*batch_of(waves), level_db=-60.0)
    for place, wave in enumerate(waves):
        first, last = trimmed(wave)
        assert int(lengths[place]) == last - first
        assert np.array_equal(moved[place, : last - first].numpy(), wave[first:last])
        assert (moved[place, last - first :] == 0).all()


def test_dither_is_noise_of_each_sample():
    loud = FrontEnd(dither=1e-2)
    wavs, lengths = batch_of([utterance()])
    one, other = loud(wavs, lengths).mels, loud(wavs, lengths).mels
    assert not torch.allclose(one, other, atol=1e-3)
    # One number an utterance would leave silence the same in each frame.
    noise, _ = FrontEnd(dither=1e-2, trim_db=None)(torch.zeros(1, 16000), torch.tensor([16000]))
    steps = noise[0, :, 3:-3].diff(dim=1).abs()
    assert (steps.mean(1) > 0.1).all()


def test_window_is_sampled_at_the_middles():
    window = centred_hann(320)
    assert torch.allclose(window, window.flip(0), atol=1e-7)
    assert window[0].item() == pytest.approx(0.5 * (1 - math.cos(math.pi / 320)), abs=1e-7)


def test_splice_joins_three_frames_and_pads():
    mels = torch.arange(14.0).reshape(1, 2, 7)
    spliced, frames = splice(mels, torch.tensor([7]), in_feats=8)
    assert spliced.shape == (3, 1, 8)
    assert frames.tolist() == [3]
    assert spliced[0, 0].tolist() == [0, 7, 1, 8, 2, 9, 0, 0]
    assert spliced[2, 0].tolist() == [6, 13, 0, 0, 0, 0, 0, 0]


def test_host_frames_are_those_of_untrimmed_audio(front_end):
    front_end.trim_db = None
    for num in (1, 479, 480, 195_840):
        mels, frames = front_end(torch.randn(1, num), torch.tensor([num]))
        spliced, lengths = splice(mels, frames)
        assert host_frames([num]) == lengths.tolist() == [spliced.shape[0]]
    assert host_frames([195_840]) == [409]
