"""From spoken samples to the sound of a recording: room, microphone, rate, noise."""

import numpy as np
import soxr
from numpy.typing import NDArray

from data_prepare.synthetic.speech import SPOKEN_RATE_HZ
from data_prepare.synthetic.voices import Voice

_EDGE_S = 0.25


def render(samples: NDArray[np.float32], voice: Voice, *, rate_hz: int) -> NDArray[np.float32]:
    """Put a person's microphone and room on spoken samples and bring them to a rate.

    Arguments
    ---------
    samples : NDArray[np.float32]
        [S] float32 at ``SPOKEN_RATE_HZ``.
    voice : Voice
        Tilt, echoes and level.
    rate_hz : int
        Rate of the result.

    Returns
    -------
    ndarray
        [about S * rate_hz / SPOKEN_RATE_HZ] float32 at the level of the voice, within (-1, 1).
    """
    if len(samples) == 0:
        return samples
    heard = samples.copy()
    heard[1:] += np.float32(voice.tilt) * samples[:-1]
    for delay_s, gain in voice.echoes:
        delay = int(delay_s * SPOKEN_RATE_HZ)
        heard[delay:] += np.float32(gain) * samples[: len(samples) - delay]
    heard = soxr.resample(heard, SPOKEN_RATE_HZ, rate_hz).astype(np.float32)
    power = float(np.mean(np.square(heard)))
    if power > 0.0:
        heard *= np.float32(10.0 ** (voice.level_db / 20.0) / np.sqrt(power))
    return np.clip(heard, -0.99, 0.99)


def noise(rng: np.random.Generator, num_samples: int, *, level_db: float) -> NDArray[np.float32]:
    """Give [num_samples] of white noise, evenly distributed, at a level in dB of full scale."""
    samples = rng.random(num_samples, dtype=np.float32)
    samples -= np.float32(0.5)
    samples *= np.float32(np.sqrt(12.0) * 10.0 ** (level_db / 20.0))
    return samples


def render_alone(
    rng: np.random.Generator, samples: NDArray[np.float32], voice: Voice, *, rate_hz: int
) -> NDArray[np.float32]:
    """Make a recording of one utterance: as `render`, with noise and a quarter second around it."""
    speech = render(samples, voice, rate_hz=rate_hz)
    edge = round(_EDGE_S * rate_hz)
    heard = noise(rng, len(speech) + 2 * edge, level_db=voice.noise_db)
    heard[edge : edge + len(speech)] += speech
    return np.clip(heard, -0.999, 0.999)
