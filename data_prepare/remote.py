"""Shards in an object store or behind a web server, read as if they were here.

Index files are copied to the cache folder and verified. Shards are read from the bounded cache of
this machine, or byte range by byte range. Whatever happens on the way, the bytes that come back
are those of the index, or there is an error: never fewer.
"""

import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from data_prepare.address import RemoteAddress
from data_prepare.index_copy import copy_index
from data_prepare.index_format import ROWS_NAME, TEXTS_NAME, ShardEntry
from data_prepare.remote_files import PIECE_BYTES, RemoteFiles
from data_prepare.remote_options import RemoteOptions
from data_prepare.retry import StorageError, twice
from data_prepare.shard_cache import ShardCache
from data_prepare.storage import Read, Storage, StorageCounts

SIZES_AGE_S = 600.0
logger = logging.getLogger(__name__)
_making = threading.Lock()


def _renew_lock() -> None:
    global _making
    _making = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)


class RemoteStorage(Storage):
    """A folder in an object store or on a web server.

    Arguments
    ---------
    address : RemoteAddress
        The folder.
    options : RemoteOptions
        Cache, access, retries.
    entries : Iterable[ShardEntry]
        Its shards, once the index is known.

    Raises
    ------
    ValueError
        If a shard is larger than the cache may be.
    """

    def __init__(
        self,
        address: RemoteAddress,
        options: RemoteOptions,
        *,
        entries: Iterable[ShardEntry] = (),
    ):
        self.address = address
        self.options = options
        self.entries = {entry.name: entry for entry in entries}
        self._own: _Own | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_own": None}

    def __str__(self) -> str:
        return str(self.address)

    def join(self, name: str) -> "RemoteStorage":
        """Return the storage of a folder within this one."""
        return RemoteStorage(self.address.join(name), self.options)

    def read_json(self, name: str) -> Any:
        """Return the content of a small JSON file; a FileNotFoundError if it is absent."""
        try:
            return json.loads(self._here().files.read_all(name))
        except ValueError as error:
            raise ValueError(f"storage {self}/{name}: is not JSON ({error}).") from error

    def index_folder(self) -> Path:
        """Return a folder of the cache with verified copies of the index files."""
        own = self._here()
        own.index_folder = copy_index(own.files, self.options.cache_path() / "indexes")
        return own.index_folder

    def with_shards(self, shards: Sequence[ShardEntry]) -> "RemoteStorage":
        """Return a storage that knows its shards; in this process it shares the connections."""
        storage = RemoteStorage(self.address, self.options, entries=shards)
        if self.options.access == "cache":
            for entry in shards:
                self._here().cache.check_fits(entry)
        storage._own = self._own
        return storage

    def sizes(self, names: Iterable[str]) -> dict[str, int | None]:
        """Return the bytes of each shard there; what the server hides is taken from the index.

        Index files were verified when they were copied: of these, the bytes of the copy.
        """
        own, names = self._here(), list(names)
        copies = [name for name in names if name in (ROWS_NAME, TEXTS_NAME) and own.index_folder]
        sizes = own.sizes([name for name in names if name not in copies])
        for name in names:
            if name in copies and own.index_folder:
                sizes[name] = (own.index_folder / name).stat().st_size
            elif sizes[name] == -1:
                sizes[name] = self._entry(name).num_bytes
        return sizes

    def sha256(self, name: str) -> str:
        """Return the SHA-256 of a file there, read piece by piece."""
        files = self._here().files
        num_bytes = self.entries[name].num_bytes if name in self.entries else None
        if num_bytes is None or not files.has_ranges(name):
            return hashlib.sha256(files.read_all(name)).hexdigest()
        digest = hashlib.sha256()
        for offset in range(0, num_bytes, PIECE_BYTES):
            digest.update(files.read(name, offset, min(PIECE_BYTES, num_bytes - offset)))
        return digest.hexdigest()

    def read_many(self, reads: Sequence[Read]) -> list[bytes]:
        """Return exactly the bytes of each read."""
        own = self._here()
        if self.options.access == "ranges":
            return own.files.run_all(lambda read: own.files.read(*read), reads)
        groups = {name: list(group) for name, group in groupby(reads, lambda read: read.name)}
        if sum(map(len, groups.values())) != len(reads):
            raise ValueError("storage: reads of a file are not together; expected them sorted.")
        done: dict[str, list[bytes]] = {}
        # What others download at the moment comes last, so that processes share the work.
        for wait in (False, True):
            for name in [name for name in groups if name not in done]:
                number = self._open(name, wait=wait)
                if number is not None:
                    done[name] = _read_and_close(number, groups[name])
        return [data for name in groups for data in done[name]]

    def fetch(self, name: str) -> Path:
        """Return the path of a whole shard in the cache; it stays until its room is needed."""
        number = self._open(name, wait=True)
        assert number is not None
        os.close(number)
        return self._here().cache.path(self._entry(name))

    def heal(self, name: str) -> bool:
        """Drop a cached copy whose checksum is wrong; True: reading once more is cheap."""
        own = self._here()
        if self.options.access == "cache" and name not in own.verified:
            own.verified.add(name)
            if own.cache.drop_if_damaged(self._entry(name)):
                logger.warning("storage %s/%s: the copy in the cache was damaged", self, name)
        return True

    def check_room(self, num_shards: int | None) -> None:
        """Warn if shards that are read at the same time do not fit into the cache together."""
        sizes = sorted((entry.num_bytes for entry in self.entries.values()), reverse=True)
        needed = sum(sizes[:num_shards])
        if self.options.access == "cache" and needed > self.options.cache_bytes:
            logger.warning(
                "storage %s: %d shards are read at the same time, up to %d bytes; cache_bytes is "
                "%d: shards will be downloaded many times; raise it, or take access: ranges",
                self,
                len(sizes[:num_shards]),
                needed,
                self.options.cache_bytes,
            )

    def take_counts(self) -> StorageCounts:
        """Return what this process has counted since the last call."""
        own = self._own
        return own.files.take_counts() if own and own.process == os.getpid() else StorageCounts()

    def _entry(self, name: str) -> ShardEntry:
        if name not in self.entries:
            raise ValueError(f"storage {self}: {name!r} is no shard of its index.")
        return self.entries[name]

    def _open(self, name: str, *, wait: bool) -> int | None:
        entry, own = self._entry(name), self._here()
        return twice(lambda: own.cache.open(entry, own.download, wait=wait), what=f"{self}/{name}")

    def _here(self) -> "_Own":
        own = self._own
        if own is not None and own.process == os.getpid():
            return own
        with _making:
            if self._own is None or self._own.process != os.getpid():
                self._own = _Own(self.address, self.options)
            return self._own


class _Own:
    """What a process needs for itself."""

    def __init__(self, address: RemoteAddress, options: RemoteOptions):
        self.process = os.getpid()
        self.files = RemoteFiles(address, options)
        self.cache = ShardCache(options.cache_path() / "shards", max_bytes=options.cache_bytes)
        self.verified: set[str] = set()
        self.index_folder: Path | None = None
        self._sizes: dict[str, int | None] = {}
        self._sizes_time_s = -SIZES_AGE_S

    def sizes(self, names: list[str]) -> dict[str, int | None]:
        """Return sizes, asked for again only after a while: several loaders open each split."""
        is_old = time.monotonic() - self._sizes_time_s > SIZES_AGE_S
        if is_old or not self._sizes.keys() >= set(names):
            self._sizes = self.files.sizes(names)
            self._sizes_time_s = time.monotonic()
        return {name: self._sizes[name] for name in names}

    def download(self, entry: ShardEntry, path: Path) -> None:
        """Write a shard into a file of the cache."""
        self.files.download(entry.name, path, num_bytes=entry.num_bytes)


def _read_and_close(number: int, reads: Sequence[Read]) -> list[bytes]:
    try:
        return [_read(number, read) for read in reads]
    finally:
        os.close(number)


def _read(number: int, read: Read) -> bytes:
    data = os.pread(number, read.num_bytes, read.offset)
    while len(data) < read.num_bytes:
        more = os.pread(number, read.num_bytes - len(data), read.offset + len(data))
        if not more:
            raise StorageError(
                f"cache: {read.name} ends after {read.offset + len(data)} bytes, byte "
                f"{read.offset + read.num_bytes} was wanted; expected the shard of the index; "
                "delete the cache.",
                is_lasting=True,
            )
        data += more
    return data
