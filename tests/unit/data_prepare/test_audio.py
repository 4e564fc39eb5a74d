import io
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import soxr

from data_prepare.audio import AudioError, Recording, encode_flac, probe
from tests.unit.data_prepare.raw_corpora import tone, write_audio

PIECES = ((0.0, 0.3), (0.3, 1.013), (0.9, 1.4), (2.2, 2.95), (2.95, 3.0))


def whole(wave, rate_hz):
    """The recording converted at once: the truth that pieces are compared with."""
    mono = wave if wave.ndim == 1 else wave.mean(axis=1, dtype=np.float32)
    if rate_hz != 16000:
        mono = soxr.resample(mono, rate_hz, 16000, "HQ")
    return np.clip(np.rint(mono * 32768), -32768, 32767).astype(np.int64)


@pytest.mark.parametrize("rate_hz", [8000, 16000, 22050, 32000, 44100])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("kind", ["wav", "flac", "mp3", "ogg"])
def test_read_pieces_equal_the_whole(tmp_path, kind, channels, rate_hz):
    path = tmp_path / f"a.{kind}"
    write_audio(path, tone(3.0, rate_hz=rate_hz, channels=channels), rate_hz)
    wave, _ = soundfile.read(path, dtype="float32")
    truth = whole(wave, rate_hz)
    with Recording(path) as recording:
        for start_s, end_s in PIECES:
            piece = recording.read(start_s=start_s, end_s=end_s, rate_hz=16000)
            expected = truth[round(start_s * 16000) : round(end_s * 16000)]
            assert abs(len(piece) - len(expected)) <= 1
            assert np.abs(piece[: len(expected)] - expected[: len(piece)]).max() <= 4


def test_read_16_bit_at_its_own_rate_is_lossless(tmp_path):
    samples = np.random.default_rng(0).integers(-32768, 32767, 16000).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", samples, 16000)
    with Recording(tmp_path / "a.wav") as recording:
        piece = recording.read(start_s=0.25, end_s=0.75, rate_hz=16000)
    assert np.array_equal(piece, samples[4000:12000])


@pytest.mark.parametrize("kind", ["mp3", "ogg", "flac"])
def test_read_going_back_gives_the_same(tmp_path, kind):
    write_audio(tmp_path / f"a.{kind}", tone(4.0))
    with Recording(tmp_path / f"a.{kind}") as recording:
        first = recording.read(start_s=0.5, end_s=0.9, rate_hz=16000)
        recording.read(start_s=3.0, end_s=3.5, rate_hz=16000)
        again = recording.read(start_s=0.5, end_s=0.9, rate_hz=16000)
    assert np.abs(first.astype(int) - again).max() <= 1


def test_read_beyond_the_end_gives_less(tmp_path):
    write_audio(tmp_path / "a.wav", tone(1.0))
    with Recording(tmp_path / "a.wav") as recording:
        assert len(recording.read(start_s=0.5, end_s=2.0, rate_hz=16000)) == 8000
        assert len(recording.read(start_s=5.0, end_s=6.0, rate_hz=16000)) == 0


def test_read_too_loud_after_conversion_is_clipped_not_wrapped(tmp_path):
    square = np.sign(tone(1.0, rate_hz=48000, pitch_hz=1000.0)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", square, 48000, subtype="FLOAT")
    with Recording(tmp_path / "a.wav") as recording:
        piece = recording.read(start_s=0.0, end_s=1.0, rate_hz=16000)
    assert piece.max() == 32767
    assert np.abs(np.diff(piece.astype(int))).max() < 60000  # a wrap is a jump of 65536


def test_probe_tells_length_rate_channels(tmp_path):
    write_audio(tmp_path / "a.wav", tone(1.5, rate_hz=8000, channels=2), 8000)
    info = probe(tmp_path / "a.wav")
    assert (info.rate_hz, info.num_frames, info.num_channels) == (8000, 12000, 2)
    assert info.duration_s == 1.5


@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.flac"])
@pytest.mark.parametrize("data", [b"", b"no audio at all", b"RIFF" + bytes(40)])
def test_probe_no_audio_raises(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(AudioError, match=name):
        probe(tmp_path / name)


def test_read_damaged_flac_raises(tmp_path):
    write_audio(tmp_path / "a.flac", tone(4.0))
    data = bytearray((tmp_path / "a.flac").read_bytes())
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    (tmp_path / "a.flac").write_bytes(data)
    with Recording(tmp_path / "a.flac") as recording:
        assert len(recording.read(start_s=0.0, end_s=0.5, rate_hz=16000)) == 8000
        with pytest.raises(AudioError, match=r"a\.flac"):
            recording.read(start_s=3.0, end_s=3.5, rate_hz=16000)


def test_encode_flac_decodes_to_the_same_samples():
    samples = np.random.default_rng(1).integers(-32768, 32767, 5000).astype(np.int16)
    decoded, rate_hz = soundfile.read(
        io.BytesIO(encode_flac(samples, rate_hz=16000)), dtype="int16"
    )
    assert rate_hz == 16000
    assert np.array_equal(decoded, samples)


_READ_LONG = """
import resource, sys
from data_prepare.audio import Recording
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with Recording(sys.argv[1]) as recording:
    end_s = recording.info.duration_s
    assert end_s > 3600
    for start_s in (0.0, end_s / 2, end_s - 60.0):
        assert len(recording.read(start_s=start_s, end_s=start_s + 60, rate_hz=16000)) == 960000
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.multiproc
def test_read_long_recording_memory_stays_small(tmp_path, repo_root):
    path = tmp_path / "long.wav"  # 1.8 GB of stereo silence at 48 kHz, a sparse file
    num_bytes = 48000 * 4 * 9500
    soundfile.write(path, np.zeros((16, 2), np.int16), 48000)
    header = bytearray(path.read_bytes()[:44])
    header[4:8] = (num_bytes + 36).to_bytes(4, "little")
    header[40:44] = num_bytes.to_bytes(4, "little")
    with path.open("wb") as file:
        file.write(header)
        file.truncate(num_bytes + 44)
    result = subprocess.run(
        [sys.executable, "-c", _READ_LONG, str(path)],
        capture_output=True, text=True, check=True, cwd=repo_root,
    )  # fmt: skip
    assert int(result.stdout) < 150_000  # KiB more than before reading
