"""Decoding FLAC in memory: equal to soundfile's own class, whatever the bytes."""

import io
import threading

import numpy as np
import pytest
import soundfile

from data_prepare.flac import decode_flac

RATE_HZ = 16000


def encoded(samples: np.ndarray, *, rate_hz: int = RATE_HZ, kind: str = "FLAC") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=kind, subtype="PCM_16")
    return file.getvalue()


def noise(num_samples: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-3000, 3000, num_samples, dtype=np.int16)


@pytest.mark.parametrize("num_samples", [1, 4095, 4096, 4097, 50_000])
def test_decode_gives_the_samples(num_samples):
    out = np.full(num_samples + 1, 7, dtype=np.int16)
    decode_flac(memoryview(encoded(noise(num_samples))), out[:-1], rate_hz=RATE_HZ)
    np.testing.assert_array_equal(out[:-1], noise(num_samples))
    assert out[-1] == 7


@pytest.mark.parametrize(
    ("flac", "reason"),
    [
        (encoded(noise(99)), "16000 Hz, 1 channel.*, 99 samples; expected .* 100 samples"),
        (encoded(noise(101)), "101 samples; expected"),
        (encoded(noise(100), rate_hz=8000), "audio of 8000 Hz"),
        (encoded(noise(200).reshape(100, 2)), r"2 channel\(s\)"),
        (encoded(noise(100), kind="WAV"), "begins with b'RIFF'; expected a FLAC file"),
        (b"", "begins with b''"),
        (b"fLaC", "does not open: "),
        (b"fLaC" + bytes(500), "does not open: "),
    ],
)
def test_decode_unlike_what_is_wanted_error(flac, reason):
    with pytest.raises(ValueError, match=reason):
        decode_flac(flac, np.zeros(100, dtype=np.int16), rate_hz=RATE_HZ)


def test_decode_cut_short_error():
    flac = encoded(noise(20_000))
    with pytest.raises(ValueError, match="decode"):
        decode_flac(flac[:-5000], np.zeros(20_000, dtype=np.int16), rate_hz=RATE_HZ)


def by_soundfile(flac: bytes, out: np.ndarray) -> None:
    with soundfile.SoundFile(io.BytesIO(flac)) as file:
        if (file.samplerate, file.channels, file.frames) != (RATE_HZ, 1, len(out)):
            raise ValueError
        if len(file.read(out=out, dtype="int16")) != len(out):
            raise ValueError


def samples_or_none(decode, flac: bytes, num_samples: int) -> np.ndarray | None:
    out = np.zeros(num_samples, dtype=np.int16)
    try:
        decode(flac, out)
    except (ValueError, soundfile.SoundFileError):
        return None
    return out


def test_decode_damaged_bytes_never_silent_and_as_soundfile():
    rng = np.random.default_rng(3)
    samples = noise(6000)
    whole = encoded(samples)
    for place in [*range(0, 60), *rng.integers(60, len(whole), 140)]:
        flac = bytearray(whole)
        flac[place] ^= 1 << int(rng.integers(8))
        ours = samples_or_none(
            lambda data, out: decode_flac(data, out, rate_hz=RATE_HZ), bytes(flac), 6000
        )
        theirs = samples_or_none(by_soundfile, bytes(flac), 6000)
        assert (ours is None) == (theirs is None)
        assert ours is None or np.array_equal(ours, samples)


def test_decode_in_several_threads_at_once():
    lengths = [30_000, 31_000, 32_000, 33_000]
    found: dict[int, bool] = {}

    def work(number: int) -> None:
        samples = noise(lengths[number], seed=number)
        flac, out = encoded(samples), np.zeros(len(samples), dtype=np.int16)
        rounds = []
        for _ in range(10):
            out[:] = 0
            decode_flac(flac, out, rate_hz=RATE_HZ)
            rounds.append(np.array_equal(out, samples))
        found[number] = all(rounds)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == dict.fromkeys(range(4), True)
