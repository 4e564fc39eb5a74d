"""Decode FLAC in memory, straight into the place where the samples are wanted.

libsndfile does the work, through the handle on it that soundfile holds. Soundfile's own class
asks a file object for each piece, and makes callbacks for each file; here one set of callbacks
serves all and copies from the bytes, which leaves out about 5 % of the time of an utterance.
"""

from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

_MARK = b"fLaC"
_ffi: Any = soundfile._ffi
_libsndfile: Any = soundfile._snd
_from_handle = _ffi.from_handle
_copy = _ffi.memmove
_SAMPLES = {
    np.dtype(np.int16): ("short[]", _libsndfile.sf_readf_short),
    np.dtype(np.float32): ("float[]", _libsndfile.sf_readf_float),
}


def decode_flac(flac: bytes | memoryview, out: NDArray[Any], *, rate_hz: int) -> None:
    """Decode a FLAC file of one channel.

    Arguments
    ---------
    flac : bytes | memoryview
        The whole file.
    out : NDArray[Any]
        [S] contiguous, takes the samples: int16, or float32 in [-1, 1), which takes no longer.
    rate_hz : int
        Sampling rate that the file must have.

    Raises
    ------
    ValueError
        If it is no FLAC file, does not decode, or has another rate, other channels, or more or
        fewer than S samples.
    """
    if flac[: len(_MARK)] != _MARK:
        raise ValueError(f"audio begins with {bytes(flac[:4])!r}; expected a FLAC file")
    c_type, read = _SAMPLES[out.dtype]
    handle = _ffi.new_handle(_Source(flac))
    info = _ffi.new("SF_INFO*")
    file = _libsndfile.sf_open_virtual(_CALLBACKS, _libsndfile.SFM_READ, info, handle)
    if file == _ffi.NULL:
        raise ValueError(f"audio does not open: {_message(_libsndfile.sf_error(file))}")
    try:
        _check(info, len(out), rate_hz=rate_hz)
        place = _ffi.from_buffer(c_type, out, require_writable=True)
        num_read = read(file, place, len(out))
        error = _libsndfile.sf_error(file)
    finally:
        _libsndfile.sf_close(file)
    if error:
        raise ValueError(f"audio does not decode: {_message(error)}")
    if num_read != len(out):
        raise ValueError(f"only {num_read} of {len(out)} samples decode")


def _check(info: Any, num_samples: int, *, rate_hz: int) -> None:
    found = (info.samplerate, info.channels, info.frames)
    if found != (rate_hz, 1, num_samples):
        raise ValueError(
            f"audio of {found[0]} Hz, {found[1]} channel(s), {found[2]} samples; "
            f"expected {rate_hz} Hz, 1 channel, {num_samples} samples"
        )


def _message(error: int) -> str:
    return _ffi.string(_libsndfile.sf_error_number(error)).decode(errors="replace")


class _Source:
    """Bytes that libsndfile reads, and how far it is."""

    __slots__ = ("data", "place", "size")

    def __init__(self, data: bytes | memoryview):
        self.data = _ffi.from_buffer(data)
        self.size = len(data)
        self.place = 0


@_ffi.callback("sf_vio_get_filelen")
def _size(handle: Any) -> int:
    return _from_handle(handle).size


@_ffi.callback("sf_vio_seek", error=-1)
def _seek(offset: int, whence: int, handle: Any) -> int:
    source = _from_handle(handle)
    place = offset + (0, source.place, source.size)[whence]
    if not 0 <= place <= source.size:
        return -1
    source.place = place
    return place


@_ffi.callback("sf_vio_read")
def _read(target: Any, num_bytes: int, handle: Any) -> int:
    source = _from_handle(handle)
    num_bytes = min(num_bytes, source.size - source.place)
    _copy(target, source.data + source.place, num_bytes)
    source.place += num_bytes
    return num_bytes


@_ffi.callback("sf_vio_tell")
def _tell(handle: Any) -> int:
    return _from_handle(handle).place


_CALLBACKS = _ffi.new(
    "SF_VIRTUAL_IO*",
    {"get_filelen": _size, "seek": _seek, "read": _read, "tell": _tell, "write": _ffi.NULL},
)
