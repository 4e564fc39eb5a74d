"""A bounded folder of downloaded shards that processes and runs of a machine share.

A shard's file is named by its SHA-256, so shards of different corpora never meet and a changed
shard is another file. While it is downloaded it is `<sha256>.part`, locked by the downloader and
as large as it will be, which reserves its room. Locks go with their process: what a killed one
leaves is found unlocked and deleted by the next that needs room.
"""

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from data_prepare.files import file_sha256
from data_prepare.index_format import ShardEntry
from data_prepare.retry import DamagedError

Fetch = Callable[[ShardEntry, Path], None]
_POLL_S = 0.05


class ShardCache:
    """Keeps the shards that were used last, up to a bound.

    Reading needs no lock: a shard that is deleted while it is read stays readable for its reader.

    Arguments
    ---------
    folder : Path
        Made if absent; on a file system with locks, best a disk of this machine.
    max_bytes : int
        Bound of all its shards together, those being downloaded included.
    """

    def __init__(self, folder: Path, *, max_bytes: int):
        self.folder = folder
        self.max_bytes = max_bytes

    def path(self, entry: ShardEntry) -> Path:
        """Return where a shard lies if it is there."""
        return self.folder / f"{entry.sha256}.tar"

    def open(self, entry: ShardEntry, fetch: Fetch, *, wait: bool = True) -> int | None:
        """Open a shard for reading, after a download if need be.

        Arguments
        ---------
        entry : ShardEntry
            From the index.
        fetch : Fetch
            Writes the shard into an existing file of its size.
        wait : bool
            Wait for another process or thread that downloads it already.

        Returns
        -------
        int | None
            A file descriptor for the caller to close; None if `wait` is False and somebody else
            downloads the shard.

        Raises
        ------
        ValueError
            If the shard is larger than the bound.
        DamagedError
            If what was fetched does not have the checksum of the index.
        """
        self.check_fits(entry)
        found = self._open_found(entry)
        if found is not None:
            return found
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.path(entry).with_suffix(".part")
        with _alone(part, wait=wait) as number:
            if number is None:
                return None
            found = self._open_found(entry)  # somebody else was first
            return self._download(entry, fetch, part, number) if found is None else found

    def check_fits(self, entry: ShardEntry) -> None:
        """Raise a ValueError if a shard is larger than the cache may be."""
        if entry.num_bytes > self.max_bytes:
            raise ValueError(
                f"cache {self.folder}: shard {entry.name} has {entry.num_bytes} bytes, cache_bytes "
                f"is {self.max_bytes}; expected room for a window of shards; raise cache_bytes, or "
                "take access: ranges."
            )

    def drop_if_damaged(self, entry: ShardEntry) -> bool:
        """Delete a shard whose checksum is wrong; tell whether there was one."""
        path = self.path(entry)
        with suppress(FileNotFoundError):
            if file_sha256(path) != entry.sha256:
                path.unlink(missing_ok=True)
                return True
        return False

    def _open_found(self, entry: ShardEntry) -> int | None:
        try:
            number = os.open(self.path(entry), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        if os.fstat(number).st_size != entry.num_bytes:
            os.close(number)
            self.path(entry).unlink(missing_ok=True)
            return None
        with suppress(OSError):
            # Used now: the least recently used go first. The system's own time is too coarse.
            os.utime(number, ns=(time.time_ns(), time.time_ns()))
        return number

    def _download(self, entry: ShardEntry, fetch: Fetch, part: Path, number: int) -> int:
        """Fill a part, which is locked, and give it its name; return it opened for reading."""
        self._reserve(part, number, entry.num_bytes)
        try:
            fetch(entry, part)
            os.fsync(number)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise OSError(
                error.errno,
                f"cache {self.folder}: its disk is full while cache_bytes allows {self.max_bytes}; "
                "expected room; give another cache_folder, or lower cache_bytes",
            ) from error
        if file_sha256(part) != entry.sha256:
            raise DamagedError(
                f"{entry.name}: its {part.stat().st_size} bytes do not have the SHA-256 that the "
                "index says"
            )
        # Opened first: others may need the room as soon as it has its name.
        found = os.open(part, os.O_RDONLY | os.O_CLOEXEC)
        with locked(self.folder / "room.lock"):  # whoever counts sees it under one name
            part.replace(self.path(entry))
        return found

    def _reserve(self, part: Path, number: int, num_bytes: int) -> None:
        """Give a part its size once there is room; others' downloads are waited for."""
        while True:
            with locked(self.folder / "room.lock"):
                if self._make_room(num_bytes, keep=part):
                    os.ftruncate(number, num_bytes)
                    return
            time.sleep(_POLL_S)

    def _make_room(self, num_bytes: int, *, keep: Path) -> bool:
        """Delete rests, then the least recently used shards; tell whether there is room now."""
        for rest in self.folder.glob("*.part"):
            if rest != keep:
                _delete_unlocked(rest)
        files = [*self.folder.glob("*.tar"), *self.folder.glob("*.part")]
        sizes = {path: _stat(path) for path in files}
        used = sum(size for path, (size, _) in sizes.items() if path != keep)
        shards = sorted((time_ns, path) for path, (_, time_ns) in sizes.items() if _is_shard(path))
        for _, path in shards:
            if used + num_bytes <= self.max_bytes:
                break
            path.unlink(missing_ok=True)
            used -= sizes[path][0]
        return used + num_bytes <= self.max_bytes


def _is_shard(path: Path) -> bool:
    return path.suffix == ".tar"


def _stat(path: Path) -> tuple[int, int]:
    """Return size and time of last use; zeros if it is gone by now."""
    with suppress(FileNotFoundError):
        stat = path.stat()
        return stat.st_size, stat.st_mtime_ns
    return 0, 0


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file, made if absent, alone among all processes and threads."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _alone(path: Path, *, wait: bool) -> Iterator[int | None]:
    """Give a file descriptor of `path`, locked; None if it is locked and `wait` is False.

    The file is deleted in the end, unless it was renamed.
    """
    number = _lock(path, wait=wait)
    if number is None:
        yield None
        return
    try:
        yield number
    finally:
        if _is_same(path, number):
            path.unlink(missing_ok=True)
        os.close(number)


def _lock(path: Path, *, wait: bool) -> int | None:
    while True:
        number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(number, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(number)
            return None
        # Whoever held the lock before has renamed or deleted the file: that one is not ours.
        if _is_same(path, number):
            return number
        os.close(number)


def _is_same(path: Path, number: int) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(path.stat(), os.fstat(number))
    return False


def _delete_unlocked(path: Path) -> None:
    """Delete what a killed downloader left; what is locked stays."""
    with suppress(FileNotFoundError), path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        if _is_same(path, file.fileno()):
            path.unlink(missing_ok=True)
