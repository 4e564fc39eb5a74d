"""Read pieces of recordings as 16-bit mono at one rate, and encode them as FLAC.

Formats: whatever libsndfile decodes (WAV, FLAC, MP3, OGG, ...). Channels are averaged, rates are
converted by soxr ("HQ"). A piece has the samples that it has in the whole recording converted at
once: some context is read on both sides and cut off after conversion.

WAV and FLAC are read at the place asked for. MP3 and OGG are decoded forward from the start,
because a jump is not exact there: measured with libsndfile 1.2.2, up to a third of the jumps in
OGG gave other samples, and an MP3 frame may need bits from more frames before it than a jump
decodes. Decoding forward costs nothing extra when most of a recording is wanted.
"""

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from data_prepare.mp3 import TaggedMp3, measure_mp3

Samples = npt.NDArray[np.float32]
_EXACT_FORMATS = {"WAV", "WAVEX", "FLAC", "AIFF", "AU", "CAF", "W64", "RF64", "NIST"}
_BLOCK_FRAMES = 1 << 16
_CONTEXT_S = 0.05
_KEPT_S = 1.0
_FULL_SCALE = 32768.0


class _ForwardFile(soundfile.SoundFile):
    """A sound file that does not jump unless asked to.

    soundfile seeks after every read to where it is already, if the file says that it can seek.
    In an MP3 this is one of the jumps that are not exact.
    """

    def seekable(self) -> bool:
        """Return False."""
        return False


class AudioError(Exception):
    """A recording that cannot be read; the message says why."""


@dataclass(frozen=True)
class AudioInfo:
    """What a recording's header says.

    Arguments
    ---------
    rate_hz : int
        Sampling rate.
    num_frames : int
        Samples of one channel.
    num_channels : int
        Channels.
    """

    rate_hz: int
    num_frames: int
    num_channels: int

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.num_frames / self.rate_hz


def probe(path: Path) -> AudioInfo:
    """Read length, rate and channels of a recording; `AudioError` if it is none.

    Arguments
    ---------
    path : Path
        The recording.

    Returns
    -------
    AudioInfo
        Its header.
    """
    with Recording(path) as recording:
        return recording.info


class Recording:
    """An open recording of which pieces are read in ascending order of time.

    Memory holds the piece asked for and one second before it, never the recording. Going back
    by more than that second decodes MP3 and OGG from the start again.

    Arguments
    ---------
    path : Path
        The recording; `AudioError` if it is no audio or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = Path(path)
        self._stream: TaggedMp3 | None = None
        with _readable(self._path):
            layout = measure_mp3(self._path) if self._path.suffix.lower() == ".mp3" else None
            if layout is not None:
                self._stream = TaggedMp3(self._path, layout)
            self._file = self._open()
        self.info = AudioInfo(self._file.samplerate, self._file.frames, self._file.channels)
        self._is_exact = self._file.format in _EXACT_FORMATS
        # What we would write, up to the file format.
        self._is_ready = (
            self._is_exact and self._file.subtype == "PCM_16" and self._file.channels == 1
        )
        self._kept: Samples = np.zeros(0, np.float32)  # the last decoded frames
        self._position = 0  # of the decoder, frames

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        if self._stream is not None:
            self._stream.close()

    def read(self, *, start_s: float, end_s: float, rate_hz: int) -> npt.NDArray[np.int16]:
        """Read a piece; `AudioError` if it cannot be decoded.

        Arguments
        ---------
        start_s : float
            Start in the recording, seconds.
        end_s : float
            End in the recording, seconds.
        rate_hz : int
            Rate of the result.

        Returns
        -------
        ndarray
            [S] int16, the channels' average, S = round(end_s * rate_hz) - round(start_s *
            rate_hz); less if the recording ends earlier.
        """
        first, last = round(start_s * rate_hz), round(end_s * rate_hz)
        if self.info.rate_hz == rate_hz:
            if self._is_ready:
                return self._samples(first, last)
            return _to_int16(self._frames(first, last))
        common = math.gcd(rate_hz, self.info.rate_hz)
        up, down = rate_hz // common, self.info.rate_hz // common
        context = math.ceil(_CONTEXT_S * rate_hz / up)
        # In units of `up` output samples = `down` input frames, where both grids meet.
        first_unit = max(0, first // up - context)
        last_unit = -(-last // up) + context
        frames = self._frames(first_unit * down, last_unit * down)
        converted = soxr.resample(frames, self.info.rate_hz, rate_hz, "HQ")
        skip = first_unit * up
        return _to_int16(converted[first - skip : last - skip])

    def _open(self) -> "_ForwardFile":
        if self._stream is not None:
            self._stream.seek(0)
        return _ForwardFile(self._stream or self._path)

    def _samples(self, first: int, last: int) -> npt.NDArray[np.int16]:
        """Return samples [first, last) of a 16-bit mono recording as they are."""
        last = min(last, self.info.num_frames)
        if last <= first:
            return np.zeros(0, np.int16)
        with _readable(self._path):
            self._file.seek(first)
            return self._file.read(last - first, "int16")

    def _frames(self, first: int, last: int) -> Samples:
        """Return mono frames [first, last) of the recording, cut at its end."""
        last = min(last, self.info.num_frames)
        if last <= first:
            return np.zeros(0, np.float32)
        with _readable(self._path):
            if self._is_exact:
                self._file.seek(first)
                return _concatenate(self._decode(last - first))
            return self._frames_forward(first, last)

    def _frames_forward(self, first: int, last: int) -> Samples:
        if first < self._position - len(self._kept):
            self._file.close()
            self._file = self._open()
            self._position, self._kept = 0, self._kept[:0]
        num_kept = round(_KEPT_S * self.info.rate_hz)
        while self._position < first:  # skip ahead, keeping little
            block = _concatenate(self._decode(min(first - self._position, _BLOCK_FRAMES)))
            if not len(block):
                break
            self._position += len(block)
            self._kept = np.concatenate((self._kept, block))[-num_kept:]
        kept_from = self._position - len(self._kept)
        new = _concatenate(self._decode(last - self._position))
        self._position += len(new)
        frames = np.concatenate((self._kept, new))
        self._kept = frames[-num_kept:].copy()
        return frames[first - kept_from : last - kept_from]

    def _decode(self, num_frames: int) -> Iterator[Samples]:
        """Yield the next frames of the decoder in mono blocks, fewer at the end of the file."""
        while num_frames > 0:
            block = self._file.read(min(num_frames, _BLOCK_FRAMES), "float32", always_2d=True)
            if not len(block):
                return
            num_frames -= len(block)
            yield _average(block)


def encode_flac(samples: npt.NDArray[np.int16], *, rate_hz: int) -> bytes:
    """Encode samples as a 16-bit FLAC file.

    Arguments
    ---------
    samples : npt.NDArray[np.int16]
        [S] int16.
    rate_hz : int
        Sampling rate.

    Returns
    -------
    bytes
        The file.
    """
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate_hz, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def _average(block: Samples) -> Samples:
    """Return the channels' average; over few columns this is faster than `ndarray.mean`."""
    num_channels = block.shape[1]
    if num_channels == 1:
        return block[:, 0]
    total = block[:, 0] + block[:, 1]
    for channel in range(2, num_channels):
        total += block[:, channel]
    total /= np.float32(num_channels)
    return total


def _concatenate(blocks: Iterator[Samples]) -> Samples:
    parts = list(blocks)
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _to_int16(samples: Samples) -> npt.NDArray[np.int16]:
    scaled = samples * _FULL_SCALE
    np.rint(scaled, out=scaled)
    return np.clip(scaled, -_FULL_SCALE, _FULL_SCALE - 1, out=scaled).astype(np.int16)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (soundfile.SoundFileError, OSError) as error:
        raise AudioError(f"{path}: {error}") from error
