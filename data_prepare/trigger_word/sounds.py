"""Recordings as clips take them: words cut, levelled, at another speed; a stretch of noise."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import soxr

from data_prepare.audio import Recording
from data_prepare.trigger_word import endpoints, mixing
from data_prepare.trigger_word.mixing import Samples
from data_prepare.trigger_word.words import Word


@dataclass(frozen=True)
class Sound:
    """A recording, and where in it the word lies.

    Arguments
    ---------
    samples : Samples
        [S] float32.
    first, stop : int
        First sample of the word, and the one after its last.
    """

    samples: Samples
    first: int
    stop: int

    def at_speed(self, factor: float) -> Self:
        """Return the sound `factor` times as fast: shorter, and higher in pitch and formants."""
        samples = soxr.resample(self.samples, factor, 1.0).astype(np.float32)
        first, stop = (min(round(n / factor), len(samples)) for n in (self.first, self.stop))
        return type(self)(samples, first, stop)


def read_sound(
    word: Word,
    *,
    rate_hz: int,
    trim_db: float | None,
    is_among_noise: bool,
    word_dbfs: float | None,
) -> Sound:
    """Read a word.

    Arguments
    ---------
    word : Word
        What to read.
    rate_hz : int
        Wanted sampling rate.
    trim_db : float | None
        What is so many dB below the loudest 10 ms is cut off at both ends; None: nothing.
    is_among_noise : bool
        Whether the word has to be found in what is left; otherwise it is all of it.
    word_dbfs : float | None
        Level to bring the word to; None: as it is.

    Returns
    -------
    Sound
        Samples and the place of the word.

    Raises
    ------
    ValueError
        If the recording is empty.
    """
    with Recording(word.path) as recording:
        samples = _read(recording, 0, _length(recording, rate_hz), word=word, rate_hz=rate_hz)
    if trim_db is not None:
        first, stop = endpoints.loud_part(samples, below_db=trim_db, rate_hz=rate_hz)
        samples = samples[first:stop]
    first, stop = 0, len(samples)
    if is_among_noise:
        first, stop = endpoints.word_part(samples, rate_hz=rate_hz)
    level = mixing.dbfs(samples[first:stop])
    if word_dbfs is not None and np.isfinite(level):
        samples = samples * mixing.gain(word_dbfs - level)
    return Sound(samples, first, stop)


def read_stretch(
    noise: Word, num_samples: int, *, rate_hz: int, rng: np.random.Generator
) -> Samples:
    """Read a stretch of noise that is as long as a clip, and no more of it: it may last hours.

    Arguments
    ---------
    noise : Word
        What to read; one that is too short goes round.
    num_samples : int
        Wanted length at `rate_hz`.
    rate_hz : int
        Wanted sampling rate.
    rng : np.random.Generator
        Draws where the stretch begins.

    Returns
    -------
    ndarray
        [num_samples] float32. Where the rate is converted, a sample in a thousand is one step of 16
        bits off what the recording converted as a whole has.

    Raises
    ------
    ValueError
        If there are no samples.
    """
    with Recording(noise.path) as recording:
        length = _length(recording, rate_hz)
        if length < num_samples:
            samples = _read(recording, 0, length, word=noise, rate_hz=rate_hz)
            return mixing.go_round(samples, num_samples, first=int(rng.integers(0, len(samples))))
        first = int(rng.integers(0, length - num_samples + 1))
        samples = _read(recording, first, first + num_samples, word=noise, rate_hz=rate_hz)
    return mixing.go_round(samples, num_samples, first=0)  # a header may promise too much


def _length(recording: Recording, rate_hz: int) -> int:
    return round(recording.info.duration_s * rate_hz)


def _read(recording: Recording, first: int, last: int, *, word: Word, rate_hz: int) -> Samples:
    found = recording.read(start_s=first / rate_hz, end_s=last / rate_hz, rate_hz=rate_hz)
    if not len(found):
        raise ValueError(
            f"clips: {word.path} ({word.role} {word.id}) holds no samples from "
            f"{first / rate_hz:.3f} s on; expected a recording; take it out."
        )
    return found.astype(np.float32) / np.float32(mixing.FULL_SCALE)
