"""The spectrogram beside a discrete Fourier transform written out, and beside matplotlib's."""

import numpy as np
import pytest
import torch

from recipes.TriggerWord.Detection.conv_gru.spectrogram import PowerSpectrogram

SAMPLES = np.random.default_rng(0).integers(-3000, 3000, 1000)
WAVS = torch.from_numpy(SAMPLES / 32768.0)[None]


@pytest.mark.parametrize(("n_fft", "hop"), [(200, 80), (33, 10)])
def test_power_equals_the_written_out_transform(n_fft, hop):
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / (n_fft - 1))
    num_bins = n_fft // 2 + 1
    waves = np.exp(-2j * np.pi * np.outer(np.arange(num_bins), np.arange(n_fft)) / n_fft)
    double = np.full(num_bins, 2.0)
    double[0] = 1.0
    if n_fft % 2 == 0:
        double[-1] = 1.0
    frames = [SAMPLES[s : s + n_fft] for s in range(0, len(SAMPLES) - n_fft + 1, hop)]
    expected = [
        double * np.abs(waves @ (window * frame)) ** 2 / (8000 * (window**2).sum())
        for frame in frames
    ]
    found = PowerSpectrogram(n_fft=n_fft, hop=hop, scale="raw")(WAVS)[0].numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_power_equals_matplotlibs_psd():
    mlab = pytest.importorskip("matplotlib.mlab")
    window = np.hanning(200)
    expected, _, _ = mlab.specgram(SAMPLES, NFFT=200, Fs=8000, noverlap=120, window=window)
    found = PowerSpectrogram(scale="raw")(WAVS)[0].numpy()
    np.testing.assert_allclose(found.T, expected, rtol=1e-9, atol=1e-12)


def test_features_stay_in_float32_under_autocast():
    loud = torch.from_numpy(np.sign(np.sin(np.arange(1000.0)))).float()[None]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        raw = PowerSpectrogram(scale="raw")(loud)
        log = PowerSpectrogram()(loud)
    assert raw.dtype == log.dtype == torch.float32
    assert raw.max() > torch.finfo(torch.float16).max
    torch.testing.assert_close(log, torch.log10(raw + 1e-10))


def test_wrong_numbers_are_refused():
    with pytest.raises(ValueError, match="hop 0"):
        PowerSpectrogram(hop=0)
