"""Lengths of MP3 streams that do not tell theirs.

libsndfile takes an MP3's length from its Xing, Info or VBRI tag. Without one it guesses from the
first frames and stops reading there: a recording of variable bit rate then loses its end in
silence. Here the frames are counted where the tag is missing or does not fit the file, and
libsndfile is given the stream with a tag that says the truth.
Source: ISO/IEC 11172-3 and 13818-3 (frame header); the Xing tag as LAME writes it.
"""

import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

_MPEG1 = 3
_RATES_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_KBITS_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBITS_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_MAX_RESYNC_BYTES = 1 << 16
_TOLERANCE = 0.01
_VBRI_OFFSET = 36


class _Frame(NamedTuple):
    num_bytes: int
    num_samples: int
    tag_offset: int


@dataclass(frozen=True)
class Mp3Layout:
    """Where the audio frames of an MP3 lie and how many there are.

    Arguments
    ---------
    first_byte : int
        Offset of the first audio frame.
    num_frames : int
        Count of audio frames.
    num_bytes : int
        Their size together.
    header : bytes
        The first audio frame's four header bytes.
    old_tag : bytes
        The frame with the tag that does not fit, or empty. It also tells the encoder's delay.
    """

    first_byte: int
    num_frames: int
    num_bytes: int
    header: bytes
    old_tag: bytes = b""

    def tag_frame(self) -> bytes:
        """Return a silent frame with a Xing tag that holds the count of frames."""
        frame = _parse_header(self.old_tag or self.header)
        assert frame is not None, "the header was parsed when the frames were counted"
        body = bytearray(self.old_tag or self.header.ljust(frame.num_bytes, b"\0"))
        count = frame.tag_offset + 8
        if self.old_tag and body[count - 1] & 3 == 3:
            num_bytes = self.num_bytes + len(body)
            told = self.num_frames.to_bytes(4, "big") + num_bytes.to_bytes(4, "big")
            body[count : count + 8] = told
        else:
            tag = b"Xing" + (1).to_bytes(4, "big") + self.num_frames.to_bytes(4, "big")
            body[frame.tag_offset : count + 4] = tag
        return bytes(body)


def measure_mp3(path: Path) -> Mp3Layout | None:
    """Count the frames of an MP3 unless its own tag can be trusted.

    A tag is trusted if the number of bytes it names is within 1 % of the file's.

    Arguments
    ---------
    path : Path
        The recording.

    Returns
    -------
    Mp3Layout | None
        None if libsndfile reads the right length itself, or if this is no MPEG layer III.
    """
    if path.stat().st_size < 4:
        return None
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start = _next_frame(data, _after_id3(data))
        if start is None:
            return None
        frame = _frame_at(data, start)
        assert frame is not None, "a frame was found at this place"
        tag = data[start + frame.tag_offset : start + frame.tag_offset + 16]
        if _is_trusted(tag, num_bytes=len(data) - start):
            return None
        is_vbri = data[start + _VBRI_OFFSET : start + _VBRI_OFFSET + 4] == b"VBRI"
        old_tag = b""
        if tag[:4] in (b"Xing", b"Info"):
            old_tag = data[start : start + frame.num_bytes]
        return _count_frames(data, start + frame.num_bytes * (is_vbri or bool(old_tag)), old_tag)


class TaggedMp3:
    """File object for libsndfile: the tag frame, then the audio frames of the file.

    Arguments
    ---------
    path : Path
        The recording.
    layout : Mp3Layout
        From `measure_mp3`.
    """

    def __init__(self, path: Path, layout: Mp3Layout) -> None:
        self._file: BinaryIO = path.open("rb")
        self._prefix = layout.tag_frame()
        self._shift = layout.first_byte - len(self._prefix)
        self._size = path.stat().st_size - self._shift
        self._position = 0

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to a byte of the tagged stream, as io.IOBase.seek."""
        self._position = offset + (0, self._position, self._size)[whence]
        return self._position

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes."""
        size = self._size - self._position if size < 0 else size
        head = self._prefix[self._position : self._position + size]
        self._file.seek(max(self._position, len(self._prefix)) + self._shift)
        data = head + self._file.read(size - len(head))
        self._position += len(data)
        return data

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _after_id3(data: mmap.mmap) -> int:
    if data[:3] != b"ID3" or len(data) < 10:
        return 0
    size = 0
    for byte in data[6:10]:
        size = size << 7 | byte & 0x7F
    return 10 + size


def _next_frame(data: mmap.mmap, start: int) -> int | None:
    """Find the next frame that is followed by another frame or by the end."""
    position = start
    while (position := data.find(b"\xff", position, start + _MAX_RESYNC_BYTES)) >= 0:
        frame = _frame_at(data, position)
        if frame is not None:
            after = position + frame.num_bytes
            if after >= len(data) or _frame_at(data, after) is not None:
                return position
        position += 1
    return None


def _frame_at(data: mmap.mmap, position: int) -> _Frame | None:
    return _parse_header(data[position : position + 4])


def _parse_header(header: bytes) -> _Frame | None:
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:  # sync, layer III
        return None
    version = header[1] >> 3 & 3
    bits, rate = header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or bits in (0, 15) or rate == 3:
        return None
    is_mono = header[3] >> 6 == 3
    num_samples = 1152 if version == _MPEG1 else 576
    kbits = (_KBITS_1 if version == _MPEG1 else _KBITS_2)[bits]
    num_bytes = num_samples * kbits * 125 // _RATES_HZ[version][rate] + (header[2] >> 1 & 1)
    side_bytes = (17 if is_mono else 32) if version == _MPEG1 else (9 if is_mono else 17)
    return _Frame(num_bytes, num_samples, 4 + side_bytes)


def _is_trusted(tag: bytes, *, num_bytes: int) -> bool:
    flags = int.from_bytes(tag[4:8], "big")
    if tag[:4] not in (b"Xing", b"Info") or flags & 3 != 3:
        return False
    told_bytes = int.from_bytes(tag[12:16], "big")
    return abs(told_bytes - num_bytes) <= _TOLERANCE * num_bytes + 512


def _count_frames(data: mmap.mmap, start: int, old_tag: bytes) -> Mp3Layout | None:
    position, num_frames = start, 0
    while position + 4 <= len(data):
        frame = _frame_at(data, position)
        if frame is None:
            found = _next_frame(data, position)
            if found is None:
                break
            position = found
            continue
        if position + frame.num_bytes > len(data):
            break
        num_frames += 1
        position += frame.num_bytes
    if not num_frames:
        return None
    return Mp3Layout(start, num_frames, position - start, data[start : start + 4], old_tag)
