"""Where a word lies: by its level, and among noise, hum and clicks."""

import numpy as np
import pytest

from data_prepare.trigger_word.endpoints import loud_part, word_part
from tests.unit.data_prepare.trigger_word.sweeps import RATE_HZ, buzz

FIRST, STOP = 8000, 11200  # of the word, 0.4 s


def recording(*, noise: float, hum: float = 0.0, seed: int = 0) -> np.ndarray:
    """Two seconds with a word of 0.4 s after one, in noise and hum."""
    rng = np.random.default_rng(seed)
    wave = noise * rng.standard_normal(2 * RATE_HZ)
    wave += hum * np.sin(2 * np.pi * 50 * np.arange(len(wave)) / RATE_HZ)
    wave[FIRST:STOP] += buzz(seconds=0.4)
    return wave.astype(np.float32)


def test_loud_part_is_the_part_without_quiet_at_both_ends():
    wave = np.zeros(8000, np.float32)
    wave[2400:4000] = np.sin(np.arange(1600))
    wave += 1e-4
    assert loud_part(wave, below_db=30.0, rate_hz=RATE_HZ) == (2400, 4000)


def test_loud_part_of_short_or_even_sound_is_all():
    for wave in (np.ones(90, np.float32), np.zeros(8000, np.float32), np.ones(800, np.float32)):
        assert loud_part(wave, below_db=30.0, rate_hz=RATE_HZ) == (0, len(wave))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("noise", "hum"), [(0.001, 0.0), (0.1, 0.0), (0.05, 0.5)])
def test_word_part_is_found_in_noise_and_hum(noise, hum, seed):
    first, stop = word_part(recording(noise=noise, hum=hum, seed=seed), rate_hz=RATE_HZ)
    assert abs(first - FIRST) <= 0.05 * RATE_HZ
    assert abs(stop - STOP) <= 0.05 * RATE_HZ


def test_loud_part_does_not_find_a_word_in_noise():
    assert loud_part(recording(noise=0.1), below_db=30.0, rate_hz=RATE_HZ) == (0, 2 * RATE_HZ)


def test_word_part_leaves_out_clicks_though_they_are_louder():
    wave = recording(noise=0.01)
    for place in (1000, 15000):
        wave[place : place + 100] = 1.0
    first, stop = word_part(wave, rate_hz=RATE_HZ)
    assert FIRST - 400 <= first < stop <= STOP + 400


def test_word_part_of_short_or_even_sound_is_all():
    for wave in (np.ones(90, np.float32), np.zeros(8000, np.float32)):
        assert word_part(wave, rate_hz=RATE_HZ) == (0, len(wave))
