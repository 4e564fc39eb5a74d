"""One folder, one writer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data_prepare.shared_folder import try_lock


@contextmanager
def locked(folder: Path, *, is_shared: bool = False) -> Iterator[None]:
    """Keep a folder to oneself; the kernel lets go of it when the process ends, however it does.

    Arguments
    ---------
    folder : Path
        Made if absent; the lock is the file ``lock`` in it.
    is_shared : bool
        With others who share it, as the tasks of a job array.

    Yields
    ------
    None
        Control of the block.

    Raises
    ------
    ValueError
        If another process has it.
    RuntimeError
        If the file system has no locks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+", encoding="utf-8") as file:
        if not try_lock(file, shared=is_shared):
            raise ValueError(
                f"{folder}: another process is writing here; expected one at a time; wait until it "
                "has ended, or give another output_folder."
            )
        yield
