"""Where the files of a split lie: a local folder, an object store or a web server.

`open_storage` turns an address into a `Storage`. A storage is small when pickled and opens what
it needs lazily, in the process that uses it, so it may be handed to loader workers of any kind.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from data_prepare.address import RemoteAddress, check_name, parse_address
from data_prepare.files import file_sha256
from data_prepare.index_format import ShardEntry
from data_prepare.remote_options import RemoteOptions
from data_prepare.retry import StorageError

__all__ = [
    "LocalStorage",
    "Read",
    "RemoteOptions",
    "Storage",
    "StorageCounts",
    "StorageError",
    "open_storage",
]
MAX_OPEN_FILES = 64


class Read(NamedTuple):
    """Bytes wanted of a file."""

    name: str
    offset: int
    num_bytes: int


@dataclass
class StorageCounts:
    """What it took to read from elsewhere; local reading leaves all at 0.

    Arguments
    ---------
    num_retries : int
        Requests that failed and were made again.
    downloaded_bytes : int
        Bytes that came from elsewhere, also those of requests that failed late.
    """

    num_retries: int = 0
    downloaded_bytes: int = 0

    def add(self, other: "StorageCounts") -> None:
        """Add the counts of another."""
        self.num_retries += other.num_retries
        self.downloaded_bytes += other.downloaded_bytes


class Storage(ABC):
    """The files of a split, by their plain names."""

    @abstractmethod
    def __str__(self) -> str:
        """Return where they lie, for messages."""

    @abstractmethod
    def index_folder(self) -> Path:
        """Return a local folder with the index files; copies them there if need be.

        A split without index.json is not finished: a FileNotFoundError.
        """

    @abstractmethod
    def with_shards(self, shards: Sequence[ShardEntry]) -> "Storage":
        """Return a storage that knows sizes and checksums of the shards, as reading needs it."""

    @abstractmethod
    def sizes(self, names: Iterable[str]) -> dict[str, int | None]:
        """Return the bytes of each file as it lies there; None if it is absent."""

    @abstractmethod
    def sha256(self, name: str) -> str:
        """Return the SHA-256 of a file as it lies there."""

    @abstractmethod
    def read_many(self, reads: Sequence[Read]) -> list[bytes]:
        """Return the bytes of each read, in order; several threads may call this.

        Give them sorted by name and offset. Fewer bytes than wanted come only where a local file
        ends; elsewhere that is an error.
        """

    @abstractmethod
    def fetch(self, name: str) -> Path:
        """Return a local path of a whole shard."""

    @abstractmethod
    def heal(self, name: str) -> bool:
        """Tell whether it is worth reading a shard once more that did not match its index.

        True if a copy was found damaged and dropped, or if bytes come afresh each time.
        """

    def check_room(self, num_shards: int | None) -> None:  # noqa: B027 - nothing to do locally
        """Warn if so many shards (None: all) can not be at hand at once, as their readers want."""

    @abstractmethod
    def take_counts(self) -> StorageCounts:
        """Return what this process has counted since the last call."""


class LocalStorage(Storage):
    """A folder of a local or network file system.

    Arguments
    ---------
    folder : Path
        The split's folder.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._files: dict[str, _OpenFile] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "_files": {}}

    def __str__(self) -> str:
        return str(self.folder)

    def index_folder(self) -> Path:
        """Return the folder itself."""
        return self.folder

    def with_shards(self, shards: Sequence[ShardEntry]) -> "LocalStorage":
        """Return this storage: it needs to know nothing."""
        return self

    def sizes(self, names: Iterable[str]) -> dict[str, int | None]:
        """Return the bytes of each file, None if it is absent."""
        paths = {name: self.fetch(name) for name in names}
        return {n: path.stat().st_size if path.is_file() else None for n, path in paths.items()}

    def sha256(self, name: str) -> str:
        """Return the SHA-256 of a file."""
        return file_sha256(self.fetch(name))

    def read_many(self, reads: Sequence[Read]) -> list[bytes]:
        """Return the bytes of each read; all are announced to the system first."""
        files = [self._file(read.name) for read in reads]
        for file, read in zip(files, reads, strict=True):
            file.announce(read.offset, read.num_bytes)
        return [
            file.read(read.offset, read.num_bytes) for file, read in zip(files, reads, strict=True)
        ]

    def fetch(self, name: str) -> Path:
        """Return the path of a file."""
        return self.folder / check_name(name, self)

    def heal(self, name: str) -> bool:
        """Return False: there is no other copy."""
        return False

    def take_counts(self) -> StorageCounts:
        """Return zeros."""
        return StorageCounts()

    def _file(self, name: str) -> "_OpenFile":
        file = self._files.get(name)
        if file is None:
            while len(self._files) >= MAX_OPEN_FILES:
                self._files.pop(next(iter(tuple(self._files))), None)
            file = self._files[name] = _OpenFile(self.fetch(name))
        return file


class _OpenFile:
    """A file descriptor that is closed when nobody uses it any more, whichever thread that is."""

    def __init__(self, path: Path):
        self._number = -1
        self._number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if self._number >= 0:
            os.close(self._number)

    def announce(self, offset: int, num_bytes: int) -> None:
        """Let the system fetch what will be read; a no-op where it can not."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._number, offset, num_bytes, os.POSIX_FADV_WILLNEED)

    def read(self, offset: int, num_bytes: int) -> bytes:
        """Return the bytes, fewer where the file ends."""
        data = os.pread(self._number, num_bytes, offset)
        while len(data) < num_bytes:
            more = os.pread(self._number, num_bytes - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data


def open_storage(address: str | Path | Storage, *, options: RemoteOptions | None = None) -> Storage:
    """Return the storage of an address; opens nothing yet.

    Arguments
    ---------
    address : str | Path | Storage
        See `data_prepare.address.parse_address`; a storage is returned as it is.
    options : RemoteOptions | None
        For addresses that are not local.

    Returns
    -------
    Storage
        For `data_prepare.index.ShardIndex.load` and `data_prepare.stream.ShardLoader`.

    Raises
    ------
    ValueError
        If the address is not taken.
    """
    if isinstance(address, Storage):
        return address
    place = parse_address(address)
    if not isinstance(place, RemoteAddress):
        return LocalStorage(place)
    from data_prepare.remote import RemoteStorage  # noqa: PLC0415 - imports this module

    return RemoteStorage(place, options or RemoteOptions())
