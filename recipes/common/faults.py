"""How a run ends when something is wrong with what the user gave it: one message, exit code 2."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recipes.common import divergence

USER_FAULTS = (ValueError, OSError)  # what was given, and the files and disks it lies on


@contextmanager
def plain_faults(output_folder: Path | None = None) -> Iterator[None]:
    """Turn errors about data, files and options into a message without traceback.

    Nothing is hidden: the traceback is appended to the run's log, and the message says where that
    is. Other errors (our own mistakes, the machine's) pass unchanged; of one that says that the run
    diverged, a note stays in its folder.

    Arguments
    ---------
    output_folder : Path | None
        Folder of the run; None before it is known.

    Yields
    ------
    None
        Control of the block.

    Raises
    ------
    SystemExit
        With code 2, after one of `USER_FAULTS`.
    """
    try:
        yield
    except USER_FAULTS as error:
        where = _append_traceback(output_folder)
        sys.stderr.write(f"error: {error}\n{where}")
        raise SystemExit(2) from None
    except Exception as error:  # reason: whatever it is, it is raised again
        if output_folder is not None and divergence.is_divergence(error):
            divergence.note(output_folder, error)
        raise


def _append_traceback(output_folder: Path | None) -> str:
    if output_folder is None or not output_folder.is_dir():
        return ""
    path = output_folder / "log.txt"
    with path.open("a", encoding="utf-8") as file:
        file.write(traceback.format_exc())
    return f"The traceback is in {path}.\n"
