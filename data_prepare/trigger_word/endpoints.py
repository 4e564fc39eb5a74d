"""Where a word lies in its recording: by its level alone, or among noise and clicks."""

import numpy as np
from numpy.typing import NDArray

from data_prepare.trigger_word.mixing import Samples

_FRAME_S = 0.01
_BAND_HZ = (150.0, 4000.0)  # hum lies below, hiss above
_RANGE_DB = 30.0  # a band counts from so far below its loudest frame, or from its noise
_NOISE_PERCENTILE = 10  # of a band's frames: its noise
_SMOOTHED_FRAMES = 7  # shorter sounds are clicks
_SHARE = 0.3  # of the way from noise to the loudest frame
_GAP_S = 0.2  # a longer pause ends the word


def loud_part(samples: Samples, *, below_db: float, rate_hz: int) -> tuple[int, int]:
    """Return the part of a recording that is left when quiet is cut off at both ends.

    Arguments
    ---------
    samples : Samples
        [S] float32.
    below_db : float
        Frames of 10 ms count as quiet so many dB below the loudest one; > 0.
    rate_hz : int
        Sampling rate.

    Returns
    -------
    tuple of (int, int)
        First sample and the one after the last; all where nothing is louder than the rest.
    """
    frame = max(1, round(_FRAME_S * rate_hz))
    num_frames = len(samples) // frame
    if num_frames < 2:
        return 0, len(samples)
    frames = samples[: num_frames * frame].reshape(num_frames, frame)
    power = np.mean(np.square(frames, dtype=np.float64), axis=1)
    loud = np.flatnonzero(power > power.max() * 10.0 ** (-below_db / 10.0))
    if not len(loud):
        return 0, len(samples)
    return int(loud[0]) * frame, (int(loud[-1]) + 1) * frame


def word_part(samples: Samples, *, rate_hz: int) -> tuple[int, int]:
    """Return where the word lies in a recording that has noise before or after it.

    The level of a frame is the mean over bands of how far each stands out of its own noise, dB,
    so that hum does not hide the word; a running median takes clicks away. Of the stretches above
    a share of the loudest level, without longer pauses, the word is the one with most of it.

    Arguments
    ---------
    samples : Samples
        [S] float32; some tenth of it is noise alone.
    rate_hz : int
        Sampling rate.

    Returns
    -------
    tuple of (int, int)
        First sample and the one after the last; all of a recording that is too short, or even.
    """
    hop = max(1, round(_FRAME_S * rate_hz))
    if len(samples) < (_SMOOTHED_FRAMES + 1) * hop:
        return 0, len(samples)
    level = _level(samples, hop, rate_hz=rate_hz)
    noise = float(np.percentile(level, _NOISE_PERCENTILE))
    above = level - noise - _SHARE * (level.max() - noise)
    steps = np.flatnonzero(above > 0)
    if not len(steps):
        return 0, len(samples)
    breaks = np.flatnonzero(np.diff(steps) > _GAP_S / _FRAME_S) + 1
    stretches = [(int(part[0]), int(part[-1])) for part in np.split(steps, breaks)]
    first, last = max(stretches, key=lambda ends: float(level[ends[0] : ends[1] + 1].sum()))
    return first * hop, min(len(samples), (last + 2) * hop)


def _level(samples: Samples, hop: int, *, rate_hz: int) -> NDArray[np.float64]:
    """Return [T] how far frames of two hops stand out of the noise, mean over bands, dB."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, 2 * hop)[::hop]
    power = np.square(np.abs(np.fft.rfft(frames * np.hanning(2 * hop))))
    hz = np.fft.rfftfreq(2 * hop, 1 / rate_hz)
    bands = 10.0 * np.log10(power[:, (hz >= _BAND_HZ[0]) & (hz <= _BAND_HZ[1])] + 1e-12)
    noise = np.percentile(bands, _NOISE_PERCENTILE, axis=0)
    level = np.maximum(bands - np.maximum(noise, bands.max(axis=0) - _RANGE_DB), 0.0).mean(axis=1)
    padded = np.pad(level, _SMOOTHED_FRAMES // 2, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, _SMOOTHED_FRAMES)
    smoothed: NDArray[np.float64] = np.median(windows, axis=1)
    return smoothed
