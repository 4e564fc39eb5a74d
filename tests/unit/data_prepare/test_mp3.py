import numpy as np
import pytest
import soundfile

from data_prepare.audio import Recording, probe
from data_prepare.mp3 import TaggedMp3, measure_mp3
from tests.unit.data_prepare.raw_corpora import tone

SECONDS = 6.0


@pytest.fixture(params=[8000, 16000, 32000, 44100])
def recording(request, tmp_path):
    """An MP3 of variable bit rate: its second half is louder and takes more bits."""
    rate_hz = request.param
    wave = tone(SECONDS, rate_hz=rate_hz) * np.linspace(0, 1, round(SECONDS * rate_hz)) ** 4
    path = tmp_path / "a.mp3"
    soundfile.write(path, wave, rate_hz, format="MP3", bitrate_mode="VARIABLE")
    return path


def without_tag(path):
    """Write the stream without its first frame, which is the one with the tag."""
    data = path.read_bytes()
    header = data[:2]
    second = next(i for i in range(100, len(data)) if data[i : i + 2] == header)
    target = path.with_name("tagless.mp3")
    target.write_bytes(data[second:])
    return target


def test_measure_own_tag_fits_nothing_to_do(recording):
    assert measure_mp3(recording) is None


def test_probe_tag_missing_length_is_that_of_all_frames(recording):
    path = without_tag(recording)
    expected = SECONDS + 0.1  # plus the encoder's delay
    assert abs(probe(path).duration_s - expected) < 0.12
    with Recording(path) as opened:
        assert len(opened.read(start_s=5.0, end_s=5.9, rate_hz=16000)) == 14400


def test_read_tag_missing_audio_is_the_same_but_for_the_delay(recording):
    truth, rate_hz = soundfile.read(recording, dtype="float32")
    layout = measure_mp3(path := without_tag(recording))
    with soundfile.SoundFile(TaggedMp3(path, layout)) as file:
        wave = file.read(dtype="float32")
    last = truth[-rate_hz // 2 :]
    match = np.correlate(wave[-rate_hz:], last, "valid") / np.dot(last, last)
    assert match.max() == pytest.approx(1.0, abs=0.02)


def test_probe_file_was_cut_length_is_what_is_left(recording):
    data = recording.read_bytes()
    path = recording.with_name("cut.mp3")
    path.write_bytes(data[: len(data) // 2])
    frames = measure_mp3(path).num_frames
    length_s = probe(path).duration_s
    assert 0 < length_s < SECONDS
    with Recording(path) as opened:
        assert len(opened.read(start_s=0.0, end_s=length_s, rate_hz=16000)) > 0.9 * length_s * 16000
    assert frames > 0


def test_measure_id3_and_noise_before_the_stream_are_skipped(recording):
    data = without_tag(recording).read_bytes()
    path = recording.with_name("id3.mp3")
    id3 = b"ID3\x03\x00\x00" + bytes([0, 0, 1, 0]) + bytes(128)
    path.write_bytes(id3 + b"\xff\xe3junk" + data)
    layout = measure_mp3(path)
    assert layout.first_byte == len(id3) + 6
    assert layout.num_frames == measure_mp3(recording.with_name("tagless.mp3")).num_frames


@pytest.mark.parametrize("data", [b"", b"\xff\xfb", b"text " * 1000, b"\xff" * 3000])
def test_measure_no_mp3_gives_none(tmp_path, data):
    (tmp_path / "a.mp3").write_bytes(data)
    assert measure_mp3(tmp_path / "a.mp3") is None


def test_tagged_mp3_reads_and_seeks_like_a_file(recording):
    path = without_tag(recording)
    layout = measure_mp3(path)
    tagged = TaggedMp3(path, layout)
    everything = layout.tag_frame() + path.read_bytes()
    assert tagged.read() == everything
    assert tagged.seek(-10, 2) == len(everything) - 10
    assert tagged.read(100) == everything[-10:]
    tagged.seek(5)
    assert tagged.read(700) == everything[5:705]
    assert tagged.seek(-5, 1) == tagged.tell() == 700
    tagged.close()
