"""Put words into a background: places without overlap, sums, loudness.

After the data synthesis of the trigger-word exercise of the course "Sequence Models"
(deeplearning.ai, 2018), without its faults: placement is bounded, the last legal place can be
drawn, and samples that do not fit into 16 bits are counted. Times are whole milliseconds, both ends
of a span included.
"""

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve

Samples = NDArray[np.float32]
Span = tuple[int, int]

FULL_SCALE = 32768.0
_DIRECT_DB = 3.0  # of direct sound over all echoes together


def overlaps(span: Span, others: Iterable[Span]) -> bool:
    """Tell whether a span shares a millisecond with one of others; both ends belong to a span."""
    start, end = span
    return any(start <= last and end >= first for first, last in others)


def place(
    rng: np.random.Generator, length_ms: int, *, clip_ms: int, occupied: Iterable[Span], tries: int
) -> Span | None:
    """Draw a free place for a word.

    Arguments
    ---------
    rng : np.random.Generator
        Source of the draws.
    length_ms : int
        Of the word; > 0.
    clip_ms : int
        Of the clip.
    occupied : Iterable[Span]
        Places that are taken.
    tries : int
        Draws at most.

    Returns
    -------
    tuple of (int, int) or None
        First and last millisecond; None if the word is longer than the clip, or every draw met
        another word.
    """
    taken = list(occupied)
    for _ in range(tries if length_ms <= clip_ms else 0):
        start = int(rng.integers(0, clip_ms - length_ms + 1))
        span = (start, start + length_ms - 1)
        if not overlaps(span, taken):
            return span
    return None


def length_ms(num_samples: int, *, rate_hz: int) -> int:
    """Return how many milliseconds a word touches."""
    return math.ceil(1000 * num_samples / rate_hz)


def overlay(clip: Samples, word: Samples, *, start_ms: int, rate_hz: int) -> None:
    """Add a word to a clip, in place; what lies beyond the clip's end is cut."""
    first = round(start_ms * rate_hz / 1000)
    room = clip[first : first + len(word)]
    room += word[: len(room)]


def rms(samples: Samples) -> float:
    """Return the root of the mean square; 0 for no samples."""
    if not len(samples):
        return 0.0
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def dbfs(samples: Samples) -> float:
    """Return the level in dB of full scale (1.0 here, 32,768 in 16 bits); -inf for silence."""
    level = rms(samples)
    return 20.0 * math.log10(level) if level > 0 else -math.inf


def gain(db: float) -> np.float32:
    """Return the factor of a change in dB."""
    return np.float32(10.0 ** (db / 20.0))


def in_room(samples: Samples, *, decay_s: float, rate_hz: int, rng: np.random.Generator) -> Samples:
    """Return sound with the echoes of a room: noise that decays, after J.-D. Polack's model.

    Arguments
    ---------
    samples : Samples
        [S] float32.
    decay_s : float
        Time in which echoes fall by 60 dB; > 0.
    rate_hz : int
        Sampling rate.
    rng : np.random.Generator
        Draws the room.

    Returns
    -------
    ndarray
        [S] float32; the direct sound stays in its place, what rings on after the end is cut.
    """
    seconds = np.arange(1, max(2, round(decay_s * rate_hz))) / rate_hz
    echoes = rng.standard_normal(len(seconds)) * 10.0 ** (-3.0 * seconds / decay_s)
    echoes *= 10.0 ** (-_DIRECT_DB / 20.0) / np.sqrt(np.sum(np.square(echoes)))
    heard = fftconvolve(samples, np.append(1.0, echoes))[: len(samples)]
    return np.asarray(heard, np.float32)


def go_round(samples: Samples, num_samples: int, *, first: int) -> Samples:
    """Return samples from a place on, again from the start where they end, as a copy.

    Arguments
    ---------
    samples : Samples
        [S] not empty.
    num_samples : int
        Wanted length.
    first : int
        Where it begins.

    Returns
    -------
    ndarray
        [num_samples] float32.
    """
    return np.resize(np.roll(samples, -first), num_samples)


def to_int16(samples: Samples, *, target_dbfs: float | None) -> tuple[NDArray[np.int16], int]:
    """Bring a clip to a level and to 16 bits.

    Arguments
    ---------
    samples : Samples
        [S] float32, full scale 1.0.
    target_dbfs : float | None
        Level of the result; None leaves it as it is. Silence stays silence.

    Returns
    -------
    tuple of (ndarray, int)
        [S] int16, and how many samples did not fit and were clipped.
    """
    level = dbfs(samples)
    if target_dbfs is not None and math.isfinite(level):
        samples = samples * gain(target_dbfs - level)
    whole = np.rint(samples * FULL_SCALE)
    num_clipped = int(np.count_nonzero((whole < -FULL_SCALE) | (whole > FULL_SCALE - 1)))
    return np.clip(whole, -FULL_SCALE, FULL_SCALE - 1).astype(np.int16), num_clipped
