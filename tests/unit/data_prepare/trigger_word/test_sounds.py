"""Recordings as clips take them: cut, levelled, at another speed."""

import tracemalloc

import numpy as np
import pytest
import soundfile

from data_prepare.trigger_word import mixing
from data_prepare.trigger_word.sounds import Sound, read_sound, read_stretch
from data_prepare.trigger_word.words import Word
from tests.unit.data_prepare.trigger_word.sweeps import RATE_HZ, buzz

PLAIN = {"rate_hz": RATE_HZ, "trim_db": None, "is_among_noise": False, "word_dbfs": None}


@pytest.fixture
def path(tmp_path):
    """A word of 0.3 s, half a second of noise on both its sides."""
    wave = 0.03 * np.random.default_rng(0).standard_normal(round(1.3 * RATE_HZ))
    wave[4000:6400] += buzz()
    soundfile.write(tmp_path / "word.wav", wave, RATE_HZ, subtype="PCM_16")
    return tmp_path / "word.wav"


def test_word_among_noise_is_found_levelled_and_keeps_its_noise(path):
    options = {**PLAIN, "trim_db": 30.0, "is_among_noise": True, "word_dbfs": -26.0}
    sound = read_sound(Word("w", path, "trigger"), **options)
    assert len(sound.samples) == round(1.3 * RATE_HZ)
    assert abs(sound.first - 4000) < 400 and abs(sound.stop - 6400) < 400
    level = mixing.dbfs(sound.samples[sound.first : sound.stop])
    assert level == pytest.approx(-26.0, abs=0.01)


def test_plain_words_are_read_as_they_are(path):
    whole = read_sound(Word("w", path, "trigger"), **PLAIN)
    assert (whole.first, whole.stop) == (0, len(whole.samples)) == (0, round(1.3 * RATE_HZ))


@pytest.mark.parametrize("num", [5000, 10400, 30000])
def test_stretch_of_noise_is_drawn_from_the_whole(path, num):
    noise = Word("n", path, "background")
    whole = read_sound(noise, **PLAIN).samples
    found = read_stretch(noise, num, rate_hz=RATE_HZ, rng=np.random.default_rng(3))
    first = np.random.default_rng(3).integers(0, max(len(whole) - num + 1, 0) or len(whole))
    np.testing.assert_array_equal(found, np.resize(np.roll(whole, -first), num))


def test_stretch_of_noise_at_another_rate_is_that_of_the_whole(path):
    noise = Word("n", path, "background")
    whole = read_sound(noise, **{**PLAIN, "rate_hz": 11025}).samples
    found = read_stretch(noise, 8000, rate_hz=11025, rng=np.random.default_rng(3))
    first = np.random.default_rng(3).integers(0, len(whole) - 8000 + 1)
    np.testing.assert_allclose(found, whole[first : first + 8000], rtol=0, atol=1.01 / 32768)


def test_stretch_of_long_noise_leaves_the_rest_on_disk(tmp_path):
    samples = np.random.default_rng(0).integers(-99, 99, 600 * RATE_HZ, np.int16)
    soundfile.write(tmp_path / "long.wav", samples, RATE_HZ, subtype="PCM_16")
    noise = Word("n", tmp_path / "long.wav", "background")
    tracemalloc.start()
    read_stretch(noise, 2 * RATE_HZ, rate_hz=RATE_HZ, rng=np.random.default_rng(0))
    most_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most_bytes < samples.nbytes / 10


def test_faster_sound_is_shorter_and_higher_and_its_word_moves_along():
    wave = np.sin(2 * np.pi * 500 * np.arange(8000) / RATE_HZ).astype(np.float32)
    fast = Sound(wave, 2000, 6000).at_speed(1.25)
    assert (len(fast.samples), fast.first, fast.stop) == (6400, 1600, 4800)
    loudest = np.abs(np.fft.rfft(fast.samples)).argmax() * RATE_HZ / 6400
    assert loudest == pytest.approx(625, abs=2)


def test_empty_recording_is_named(tmp_path):
    soundfile.write(tmp_path / "none.wav", np.zeros(0), RATE_HZ)
    with pytest.raises(ValueError, match=r"none\.wav \(trigger w\) holds no samples"):
        read_sound(Word("w", tmp_path / "none.wav", "trigger"), **PLAIN)
    with pytest.raises(ValueError, match=r"none\.wav \(background n\) holds no samples"):
        noise = Word("n", tmp_path / "none.wav", "background")
        read_stretch(noise, 9, rate_hz=RATE_HZ, rng=np.random.default_rng(0))
