"""Verified copies of a remote split's index files, in the cache of this machine."""

import fcntl
import json
from functools import partial
from pathlib import Path
from typing import Any

from data_prepare.files import atomic_path, file_sha256
from data_prepare.index_format import (
    INDEX_NAME,
    ROWS_NAME,
    TEXTS_NAME,
    content_faults,
)
from data_prepare.remote_files import RemoteFiles
from data_prepare.retry import DamagedError, twice


def copy_index(files: RemoteFiles, folder: Path) -> Path:
    """Copy the index files of a split, unless they are there; processes take turns.

    Arguments
    ---------
    files : RemoteFiles
        Of the split.
    folder : Path
        Holds the copies of each index in a folder named by its checksum.

    Returns
    -------
    Path
        The folder of this index.

    Raises
    ------
    FileNotFoundError
        If there is no index.json.
    StorageError
        If one of them is not what it should be, or does not come.
    """
    text, content = twice(partial(_read_content, files), what=f"{files.address}/{INDEX_NAME}")
    target = folder / content["checksum"]
    target.mkdir(parents=True, exist_ok=True)
    with (target / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in (ROWS_NAME, TEXTS_NAME):
            what = f"{files.address}/{name}"
            twice(partial(_copy, files, target / name, content["files"][name]), what=what)
        path = target / INDEX_NAME
        if not path.is_file() or path.read_bytes() != text:
            with atomic_path(path) as temporary:
                temporary.write_bytes(text)
    return target


def _read_content(files: RemoteFiles) -> tuple[bytes, dict[str, Any]]:
    """Return index.json as it lies there, and its content."""
    try:
        text = files.read_all(INDEX_NAME)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"index: {files.address}/{INDEX_NAME} is missing; expected a prepared split; see "
            "that the address is the split's own and that its upload has ended."
        ) from error
    try:
        content = json.loads(text)
    except ValueError as error:
        raise DamagedError(f"{INDEX_NAME} is not JSON ({error})") from error
    faults = content_faults(content)
    if faults:
        raise DamagedError("; ".join(faults))
    return text, content


def _copy(files: RemoteFiles, path: Path, stamp: dict[str, Any]) -> None:
    if path.is_file() and path.stat().st_size == stamp["num_bytes"]:
        # Of an old copy the rows are checked: they decide what is read, and they are small.
        is_good = path.name == TEXTS_NAME or file_sha256(path) == stamp["sha256"]
        if is_good:
            return
    with atomic_path(path) as temporary:
        temporary.touch()
        files.download(path.name, temporary, num_bytes=stamp["num_bytes"])
        if file_sha256(temporary) != stamp["sha256"]:
            raise DamagedError(f"does not have the SHA-256 that {INDEX_NAME} says")
