"""Walk through a shard from end to end, once, whatever is in it.

Members are data: nothing is extracted, no link is followed, no name is used as a path. Where the
TAR is damaged, the walk goes on with the next header that is whole. Memory holds one utterance.
"""

import hashlib
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from data_prepare.shards import AUDIO_SUFFIX, META_SUFFIX
from data_prepare.utterance import KEY_MAX_CHARS

MAX_AUDIO_BYTES = 1 << 30
MAX_META_BYTES = 16 << 20
_BLOCK = tarfile.BLOCKSIZE
_CHUNK_BYTES = 1 << 20
_END_BYTES = 2 * _BLOCK
_MAGIC = slice(257, 262)
_KEY = re.compile(rf"[A-Za-z0-9_-]{{1,{KEY_MAX_CHARS}}}")
_SIZE_LIMITS = {AUDIO_SUFFIX: MAX_AUDIO_BYTES, META_SUFFIX: MAX_META_BYTES}


@dataclass(frozen=True)
class Pair:
    """An utterance as it lies in a shard.

    Arguments
    ---------
    offset : int
        Of its first header.
    num_bytes : int
        Both members with headers and padding.
    key : str
        Base name of both.
    flac : bytes
        Content of the one.
    text : bytes
        Content of the other, JSON.
    """

    offset: int
    num_bytes: int
    key: str
    flac: bytes
    text: bytes


@dataclass(frozen=True)
class Flaw:
    """Something in a shard that should not be there; `kind` as in `data_prepare.findings`."""

    kind: str
    offset: int
    name: str
    detail: str


@dataclass(frozen=True)
class _Member:
    offset: int
    end: int
    key: str
    suffix: str
    data: bytes


class ShardWalk:
    """Iterates over the pairs and flaws of an open shard, and computes its checksum on the way.

    Arguments
    ---------
    file : BinaryIO
        At its beginning.

    Attributes
    ----------
    num_bytes : int
        Read so far.
    """

    def __init__(self, file: BinaryIO):
        self._file = file
        self._digest = hashlib.sha256()
        self.num_bytes = 0

    @property
    def sha256(self) -> str:
        """SHA-256 of all that was read so far."""
        return self._digest.hexdigest()

    def __iter__(self) -> Iterator[Pair | Flaw]:
        audio: _Member | None = None
        for found in self._members():
            if isinstance(found, Flaw):
                yield found
            elif found.suffix == AUDIO_SUFFIX:
                if audio is not None:
                    yield _unpaired(audio)
                audio = found
            elif audio is not None and (audio.key, audio.end) == (found.key, found.offset):
                num_bytes = found.end - audio.offset
                yield Pair(audio.offset, num_bytes, audio.key, audio.data, found.data)
                audio = None
            else:
                yield _unpaired(found)
        if audio is not None:
            yield _unpaired(audio)

    def _members(self) -> Iterator[_Member | Flaw]:
        gap, gap_is_zero = 0, True
        while len(header := self._read(_BLOCK)) == _BLOCK:
            info = _parse(header)
            if info is None:
                gap += _BLOCK
                gap_is_zero = gap_is_zero and not any(header)
                continue
            offset = self.num_bytes - _BLOCK
            if gap:
                yield Flaw("shard_structure", offset - gap, "", f"{gap} bytes hold no member")
            gap, gap_is_zero = 0, True
            yield self._member(info, offset)
        if (gap, gap_is_zero, header) != (_END_BYTES, True, b""):
            gap += len(header)
            detail = f"ends with {gap} bytes after the last member, not with {_END_BYTES} zeros"
            yield Flaw("shard_structure", self.num_bytes - gap, "", detail)

    def _member(self, info: tarfile.TarInfo, offset: int) -> _Member | Flaw:
        key, suffix = split_name(info.name)
        size = info.size + -info.size % _BLOCK
        detail = _foreign(info, key, suffix)
        if detail:
            self._skip(size)
            return Flaw("foreign_member", offset, info.name, detail)
        data = self._read(size)
        if len(data) < size:
            detail = f"the shard ends after {len(data)} of {info.size} bytes"
            return Flaw("shard_structure", offset, info.name, detail)
        return _Member(offset, self.num_bytes, key, suffix, data[: info.size])

    def _read(self, num_bytes: int) -> bytes:
        data = self._file.read(num_bytes)
        self._digest.update(data)
        self.num_bytes += len(data)
        return data

    def _skip(self, num_bytes: int) -> None:
        while num_bytes > 0 and (data := self._read(min(num_bytes, _CHUNK_BYTES))):
            num_bytes -= len(data)


def split_name(name: str) -> tuple[str, str]:
    """Return key and suffix of a member's name, "" as suffix if it is none of ours."""
    for suffix in (AUDIO_SUFFIX, META_SUFFIX):
        if name.endswith(suffix):
            return name.removesuffix(suffix), suffix
    return name, ""


def _foreign(info: tarfile.TarInfo, key: str, suffix: str) -> str:
    """Return why a member is none of ours, "" if it is."""
    if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        return f"is of type {info.type!r} (links to {info.linkname!r}); expected a plain file"
    if not suffix or not _KEY.fullmatch(key):
        return f"expected <key>{AUDIO_SUFFIX} or <key>{META_SUFFIX}, key of [A-Za-z0-9_-]"
    if info.size > _SIZE_LIMITS[suffix]:
        return f"holds {info.size} bytes; expected at most {_SIZE_LIMITS[suffix]}"
    return ""


def _parse(header: bytes) -> tarfile.TarInfo | None:
    """Return what a header says, None if it is none."""
    if header[_MAGIC] != b"ustar":
        return None
    try:
        info = tarfile.TarInfo.frombuf(header, "utf-8", "backslashreplace")
    except tarfile.HeaderError:
        return None
    return info if info.size >= 0 else None


def _unpaired(member: _Member) -> Flaw:
    other = META_SUFFIX if member.suffix == AUDIO_SUFFIX else AUDIO_SUFFIX
    detail = f"has no {member.key}{other} beside it"
    return Flaw("unpaired_member", member.offset, member.key + member.suffix, detail)


def key_at(file: BinaryIO, offset: int) -> str:
    """Return the key of the member whose header lies at `offset`, "" if there is none."""
    file.seek(offset)
    info = _parse(file.read(_BLOCK))
    return split_name(info.name)[0] if info is not None else ""
