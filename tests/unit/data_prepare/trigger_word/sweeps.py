"""Words without speech: a rising sweep is the trigger, a falling one is not, noise is noise."""

from pathlib import Path

import numpy as np
import soundfile

RATE_HZ = 8000


def sweep(*, is_rising: bool, seconds: float = 0.3, seed: int = 0) -> np.ndarray:
    """[S] float32, its pitch changed a little by the seed."""
    rng = np.random.default_rng(seed)
    low, high = 400 * rng.uniform(0.9, 1.1), 1600 * rng.uniform(0.9, 1.1)
    hz = np.linspace(low, high, round(seconds * RATE_HZ))
    wave = 0.5 * np.sin(2 * np.pi * np.cumsum(hz if is_rising else hz[::-1]) / RATE_HZ)
    return wave.astype(np.float32)


def buzz(*, seconds: float = 0.3) -> np.ndarray:
    """[S] float32 with harmonics up to half the rate, as a voice has them: pulses at 125 Hz."""
    wave = np.zeros(round(seconds * RATE_HZ), np.float32)
    wave[:: RATE_HZ // 125] = 1.0
    return wave


def write_words(folder: Path, *, num: int = 8) -> Path:
    """Write `num` recordings of each role as the folders activates, negatives, backgrounds."""
    rng = np.random.default_rng(1)
    for name in ("activates", "negatives", "backgrounds"):
        (folder / name).mkdir(parents=True)
        for n in range(num):
            wave = (
                0.1 * rng.standard_normal(3 * RATE_HZ).astype(np.float32)
                if name == "backgrounds"
                else sweep(is_rising=name == "activates", seconds=rng.uniform(0.2, 0.4), seed=n)
            )
            soundfile.write(folder / name / f"{n}.wav", wave, RATE_HZ, subtype="PCM_16")
    return folder
