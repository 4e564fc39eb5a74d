"""File systems of fsspec, and the local files that downloads are written into."""

import os
import threading
from pathlib import Path
from typing import Any

from data_prepare.address import RemoteAddress
from data_prepare.remote_options import RemoteOptions

HTTP = ("http", "https")
# By process, protocol and options. Kept for good: a file system closes its connections when it is
# deleted, which must not happen in a forked process, where they are the parent's and the event loop
# that should close them does not run.
_systems: dict[tuple[int, str, str], Any] = {}
_lock = threading.Lock()


def _renew_lock() -> None:
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)


def open_file_system(address: RemoteAddress, options: RemoteOptions) -> Any:
    """Return the fsspec file system of an address: of this process, made at the first call.

    Arguments
    ---------
    address : RemoteAddress
        What it will read.
    options : RemoteOptions
        Timeout and further arguments.

    Returns
    -------
    fsspec.AbstractFileSystem
        It neither retries nor caches by itself.

    Raises
    ------
    ImportError
        If a package that it needs is not installed.
    """
    key = (os.getpid(), address.protocol, repr((options.retry.timeout_s, options.filesystem)))
    with _lock:
        if key not in _systems:
            _systems[key] = _make(address, options)
        return _systems[key]


def _make(address: RemoteAddress, options: RemoteOptions) -> Any:
    try:
        import fsspec.asyn  # noqa: PLC0415 - optional

        kind = fsspec.get_filesystem_class(address.protocol)
        arguments = _arguments(address.protocol, options.retry.timeout_s)
    except ImportError as error:
        raise ImportError(
            f"storage {address}: a package is not installed ({error}); expected the optional ones; "
            "pip install -r requirements-extras.txt"
        ) from error
    for name, value in options.filesystem.items():
        is_table = isinstance(value, dict) and isinstance(arguments.get(name), dict)
        arguments[name] = {**arguments[name], **value} if is_table else value
    system = kind(**arguments, skip_instance_cache=True, use_listings_cache=False)
    if hasattr(system, "retries"):
        system.retries = 1  # ours are counted
    if hasattr(system, "set_session"):
        # Before threads use it: each of the first would make a session of its own.
        fsspec.asyn.sync(system.loop, system.set_session)
    return system


def _arguments(protocol: str, timeout_s: float) -> dict[str, Any]:
    if protocol in HTTP:
        import aiohttp  # noqa: PLC0415 - optional

        timeout = aiohttp.ClientTimeout(total=None, sock_connect=timeout_s, sock_read=timeout_s)
        return {
            "headers": {"Accept-Encoding": "identity"},
            "client_kwargs": {"timeout": timeout, "trust_env": True},
        }
    if protocol in ("s3", "s3a"):
        retries = {"total_max_attempts": 1, "mode": "standard"}
        times = {"connect_timeout": timeout_s, "read_timeout": timeout_s}
        return {"config_kwargs": {**times, "retries": retries}}
    return {}


class PieceFile:
    """A file to write pieces into, closed when the last thread that may write has ended."""

    def __init__(self, path: Path):
        self._number = os.open(path, os.O_WRONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        os.close(self._number)

    def write(self, data: bytes, offset: int) -> None:
        """Write all of a piece."""
        view = memoryview(data)
        while view:
            num_written = os.pwrite(self._number, view, offset)
            view, offset = view[num_written:], offset + num_written


class BoundedFile:
    """What a download writes into: no more bytes than the file may have."""

    def __init__(self, file: Any, num_bytes: int):
        self._file = file
        self._num_bytes = num_bytes
        self.num_written = 0

    def write(self, data: bytes) -> int:
        """Write bytes; too many are an error."""
        self.num_written += len(data)
        if self.num_written > self._num_bytes:
            raise ValueError(f"more than {self._num_bytes} bytes came")
        self._file.write(data)
        return len(data)

    def read(self, _: int = -1) -> bytes:
        """Return nothing: fsspec asks for this method and does not call it."""
        return b""

    def close(self) -> None:
        """Leave the file open: it belongs to the caller."""

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self.num_written
