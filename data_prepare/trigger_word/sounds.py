"""Recordings as clips take them: cut, at a level, the word's place known, at another speed."""

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
    """Read a word; noise is read as it is, whatever the options.

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
        whole = recording.read(start_s=0.0, end_s=recording.info.duration_s, rate_hz=rate_hz)
    samples: Samples = whole.astype(np.float32) / np.float32(mixing.FULL_SCALE)
    if not len(samples):
        raise ValueError(
            f"clips: {word.path} ({word.role} {word.id}) holds no samples; expected a "
            "recording; take it out."
        )
    if word.role == "background":
        return Sound(samples, 0, len(samples))
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
