"""Files of one checkpoint folder: checksums, faults, plain metadata, moves that survive a kill."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

CHECKSUMS = "files.json"
UNFINISHED = "unfinished-"
"""Prefix of folders that are being written or deleted; no checkpoint's name starts with it."""
REPLACED = "replaced-"
"""Prefix of a named checkpoint while its successor takes its place."""


def plain_meta(meta: Mapping[str, Any]) -> dict[str, bool | int | float | str]:
    """Return metadata with plain values only: they are read back by a loader that knows no others.

    Arguments
    ---------
    meta : Mapping[str, Any]
        Values may be bool, int, float, str, NumPy scalars, or tensors and arrays of one element.

    Returns
    -------
    dict
        The same with Python's own types.

    Raises
    ------
    TypeError
        If values have other types; all keys are named.
    """
    plain: dict[str, bool | int | float | str] = {}
    faults = []
    for key, value in meta.items():
        cast = _plain(value)
        if cast is None:
            faults.append(f"{key} is {type(value).__name__} {value!r:.60}")
        else:
            plain[str(key)] = cast
    if faults:
        raise TypeError(
            f"checkpoint meta: {'; '.join(faults)}; expected bool, int, float or str; cast them."
        )
    return plain


def _plain(value: Any) -> bool | int | float | str | None:
    if isinstance(value, torch.Tensor | np.ndarray | np.generic) and _num_elements(value) == 1:
        value = value.item()
    for kind in (bool, int, float, str):  # bool first: it is an int
        if isinstance(value, kind):
            return kind(value)
    return None


def _num_elements(value: Any) -> int:
    return int(value.numel() if isinstance(value, torch.Tensor) else value.size)


def is_rankable(meta: Mapping[str, Any], key: str) -> bool:
    """Say whether a checkpoint can be ranked by ``key``: present, a number, not NaN."""
    value = meta.get(key)
    return isinstance(value, int | float) and not math.isnan(value)


def write_checksums(folder: Path) -> None:
    """Write sizes and SHA-256 sums of all files, and make the folder durable on disk."""
    files = sorted(path for path in folder.iterdir() if path.name != CHECKSUMS)
    table = {f.name: {"num_bytes": f.stat().st_size, "sha256": sha256_of(f)} for f in files}
    target = folder / CHECKSUMS
    target.write_text(json.dumps({"format": 1, "files": table}, indent=1), encoding="utf-8")
    for path in (*files, target, folder):
        fsync(path)


def fault_of(folder: Path, needed: Iterable[str]) -> str | None:
    """Return why a checkpoint cannot be loaded, naming the file; None if it can.

    Arguments
    ---------
    folder : Path
        Checkpoint.
    needed : Iterable[str]
        File names that are going to be read. Sizes of all files are compared with the table
        written at the save, and checksums of these.

    Returns
    -------
    str or None
        The fault.
    """
    try:
        return _found_fault(folder, needed)
    except OSError as error:  # of the disk, or of a server of files
        return f"a file cannot be read ({error})"


def _found_fault(folder: Path, needed: Iterable[str]) -> str | None:
    table_path = folder / CHECKSUMS
    try:
        table = json.loads(table_path.read_text(encoding="utf-8"))["files"]
    except FileNotFoundError:
        return _fault_without_table(folder, needed)
    except (ValueError, KeyError, TypeError) as error:
        return f"{CHECKSUMS} cannot be read ({error})"
    for name, entry in table.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != entry["num_bytes"]:
            return f"{name} has {path.stat().st_size} bytes, expected {entry['num_bytes']}"
    for name in needed:
        if name not in table:
            return f"{name} was not saved in it"
        if sha256_of(folder / name) != table[name]["sha256"]:
            return f"{name} has another SHA-256 than at the save"
    return None


def _fault_without_table(folder: Path, needed: Iterable[str]) -> str | None:
    # A checkpoint of plain SpeechBrain: no sizes are known, so look for what a killed save leaves.
    for name in needed:
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size == 0:
            return f"{name} is empty"
        with path.open("rb") as stream:
            is_archive = stream.read(2) == b"PK"
        if is_archive and not zipfile.is_zipfile(path):
            return f"{name} is cut off"
    return None


def sha256_of(path: Path) -> str:
    """Return the SHA-256 sum of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fsync(path: Path) -> None:
    """Make a file's bytes, or a folder's names, durable on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def move_into_place(temporary: Path, final: Path) -> None:
    """Rename a finished folder; an older one of the same name goes only after."""
    replaced = final.with_name(REPLACED + final.name)
    if final.exists():
        shutil.rmtree(replaced, ignore_errors=True)
        final.rename(replaced)
    temporary.rename(final)
    fsync(final.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def clean_leftovers(folder: Path) -> list[str]:
    """Delete what killed saves left in ``folder``; return the names of what was found."""
    found = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(REPLACED):
            final = path.with_name(path.name.removeprefix(REPLACED))
            if final.exists():
                shutil.rmtree(path)
            else:
                path.rename(final)
            found.append(path.name)
        elif path.name.startswith(UNFINISHED):
            shutil.rmtree(path)
            found.append(path.name)
    return found
