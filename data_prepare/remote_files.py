"""Requests to an object store or web server, through fsspec: exact, retried, counted.

An object of this class belongs to the process that made it: fsspec's event loop and connections
do not survive a fork. `data_prepare.remote` makes one in each process.
"""

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, TypeVar

from data_prepare.address import RemoteAddress
from data_prepare.remote_options import RemoteOptions
from data_prepare.remote_system import (
    HTTP,
    BoundedFile,
    PieceFile,
    open_file_system,
)
from data_prepare.retry import Retrier, ShortAnswerError, StorageError, is_absence
from data_prepare.storage import StorageCounts

PIECE_BYTES = 8 << 20
T = TypeVar("T")
U = TypeVar("U")


class RemoteFiles:
    """The files of a folder elsewhere.

    Arguments
    ---------
    address : RemoteAddress
        The folder.
    options : RemoteOptions
        Retries, requests at once, arguments of the file system.

    Raises
    ------
    ImportError
        If a package that this needs is not installed.
    """

    def __init__(self, address: RemoteAddress, options: RemoteOptions):
        self.address = address
        self._system = open_file_system(address, options)
        self._pool = ThreadPoolExecutor(options.concurrent_requests, "stampede-storage")
        self._running = threading.local()
        self._counts = StorageCounts()
        self._counts_lock = threading.Lock()
        self._retry = options.retry
        self._has_ranges: bool | None = None if address.protocol in HTTP else True

    def take_counts(self) -> StorageCounts:
        """Return what was counted since the last call."""
        with self._counts_lock:
            counts, self._counts = self._counts, StorageCounts()
        return counts

    def request(self, name: str, call: Callable[[str], T], *, what: str = "") -> T:
        """Return what a call of a file's address returns, with retries."""
        url = self.address.url(name)
        where = f"{self.address}/{name}{what}"
        return self._retrier().call(lambda: call(url), what=where)

    def read(self, name: str, offset: int, num_bytes: int) -> bytes:
        """Return exactly these bytes of a file.

        Arguments
        ---------
        name : str
            Its plain name.
        offset : int
            First byte.
        num_bytes : int
            How many.

        Returns
        -------
        bytes
            As many as asked for.

        Raises
        ------
        StorageError
            If they do not come, or the server gives no ranges.
        """
        if not num_bytes:
            return b""
        if not self.has_ranges(name):
            raise StorageError(
                f"storage {self.address}/{name}: the server ignores byte ranges; expected one that "
                "gives them; take access: cache.",
                is_lasting=True,
            )

        def call(url: str) -> bytes:
            data: bytes = self._system.cat_file(url, start=offset, end=offset + num_bytes)
            self._count(StorageCounts(downloaded_bytes=len(data)))
            if len(data) != num_bytes:
                raise ShortAnswerError(f"{len(data)} of {num_bytes} bytes came")
            return data

        return self.request(name, call, what=f", bytes {offset} to {offset + num_bytes}")

    def read_all(self, name: str) -> bytes:
        """Return a whole small file; a FileNotFoundError if it is absent."""

        def call(url: str) -> bytes:
            data: bytes = self._system.cat_file(url)
            self._count(StorageCounts(downloaded_bytes=len(data)))
            return data

        try:
            return self.request(name, call)
        except StorageError as error:
            if is_absence(error):
                raise FileNotFoundError(f"storage: {self.address}/{name} is missing.") from error
            raise

    def download(self, name: str, path: Path, *, num_bytes: int) -> None:
        """Write a file's bytes into an existing local file, in pieces where the server gives them.

        Arguments
        ---------
        name : str
            Its plain name.
        path : Path
            Where to.
        num_bytes : int
            How many it must have.
        """
        if not self.has_ranges(name):
            with path.open("r+b") as file:
                self._download_whole(name, file, num_bytes=num_bytes)
            return
        target = PieceFile(path)

        def fetch(offset: int) -> None:
            size = min(PIECE_BYTES, num_bytes - offset)
            target.write(self.read(name, offset, size), offset)

        self.run_all(fetch, range(0, num_bytes, PIECE_BYTES))

    def has_ranges(self, name: str) -> bool:
        """Tell whether the server gives byte ranges; asked once."""
        if self._has_ranges is None:
            self._has_ranges = self.request(name, self._answers_range)
        return self._has_ranges

    def sizes(self, names: Iterable[str]) -> dict[str, int | None]:
        """Return the bytes of each file; None if it is absent, -1 if the server does not say."""
        if self.address.protocol not in HTTP:
            try:
                return self._listed(names)
            except StorageError as error:
                if not error.is_lasting:
                    raise
        names = list(names)
        return dict(zip(names, self.run_all(self._size, names), strict=True))

    def run_all(self, function: Callable[[T], U], items: Iterable[T]) -> list[U]:
        """Return the results for all items, worked on by threads; the first error ends it."""
        stop = threading.Event()

        def work(item: T) -> U:
            self._running.stop = stop
            return function(item)

        futures = [self._pool.submit(work, item) for item in items]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            error = next((future.exception() for future in done if future.exception()), None)
            if error is not None:
                raise error
            return [future.result() for future in futures]
        finally:
            stop.set()
            for future in futures:
                future.cancel()

    def _retrier(self) -> Retrier:
        # Not kept: it would keep this object, in a circle, and its connections with it.
        return Retrier(self._retry, on_retry=self._count_retry, sleep=self._sleep)

    def _count_retry(self) -> None:
        self._count(StorageCounts(num_retries=1))

    def _sleep(self, wait_s: float) -> None:
        stop: threading.Event | None = getattr(self._running, "stop", None)
        if stop is None:
            time.sleep(wait_s)
        elif stop.wait(wait_s):
            raise StorageError(f"storage {self.address}: stopped, another request has failed.")

    def _count(self, counts: StorageCounts) -> None:
        with self._counts_lock:
            self._counts.add(counts)

    def _size(self, name: str) -> int | None:
        def call(url: str) -> int | None:
            return self._system.info(url)["size"]

        try:
            size = self.request(name, call)
        except StorageError as error:
            if is_absence(error):
                return None
            raise
        return -1 if size is None else size

    def _listed(self, names: Iterable[str]) -> dict[str, int | None]:
        def call() -> list[dict[str, Any]]:
            try:
                return self._system.ls(self.address.base, detail=True)
            except FileNotFoundError:
                return []

        found = self._retrier().call(call, what=str(self.address))
        sizes = {entry["name"].rsplit("/", 1)[-1]: entry["size"] for entry in found}
        return {name: sizes.get(name) for name in names}

    def _download_whole(self, name: str, file: Any, *, num_bytes: int) -> None:
        def call(url: str) -> None:
            file.seek(0)
            target = BoundedFile(file, num_bytes)
            try:
                self._system.get_file(url, target)
            finally:
                self._count(StorageCounts(downloaded_bytes=target.num_written))
            if target.num_written != num_bytes:
                raise ShortAnswerError(f"{target.num_written} of {num_bytes} bytes came")
            file.flush()

        self.request(name, call)

    def _answers_range(self, url: str) -> bool:
        import fsspec.asyn  # noqa: PLC0415 - optional

        async def ask() -> bool:
            session = await self._system.set_session()
            headers = {**self._system.kwargs.get("headers", {}), "Range": "bytes=0-0"}
            async with session.get(self._system.encode_url(url), headers=headers) as answer:
                answer.raise_for_status()
                return answer.status == 206

        return fsspec.asyn.sync(self._system.loop, ask)
