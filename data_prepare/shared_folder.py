"""What processes on several nodes need that work in one folder: locks, and patience.

On a network file system a name that another node made may stay unseen for as long as attributes
of folders are cached, a minute by default on NFS.
"""

import errno
import fcntl
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypeVar

Result = TypeVar("Result")

VISIBLE_S = 90.0
_POLL_S = 0.5


def try_lock(file: IO[Any], *, shared: bool = False) -> bool:
    """Lock an open file until it is closed; False if another process has locked it.

    Arguments
    ---------
    file : IO[Any]
        Opened for reading and writing.
    shared : bool
        Let others lock it that share too.

    Returns
    -------
    bool
        Whether it is locked now.

    Raises
    ------
    RuntimeError
        If the file system has no locks.
    """
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):  # what some network file systems answer
            return False
        raise RuntimeError(
            f"{file.name}: cannot be locked ({error}); expected a file system with flock; "
            "mount it with locks (Lustre: -o flock), or take another one and copy."
        ) from error
    return True


def wait_for(
    look: Callable[[], Result], *, folder: Path | None = None, timeout_s: float | None = None
) -> Result:
    """Look again until there is something, for as long as a network file system may be late.

    Arguments
    ---------
    look : Callable[[], Result]
        Returns something false if it is not there (yet).
    folder : Path | None
        Listed before each new look, which makes a network file system ask its server.
    timeout_s : float | None
        Longest wait; `VISIBLE_S` if not given.

    Returns
    -------
    object
        What the last look returned.
    """
    end_s = time.monotonic() + (VISIBLE_S if timeout_s is None else timeout_s)
    while not (found := look()) and time.monotonic() < end_s:
        time.sleep(_POLL_S)
        if folder is not None and folder.is_dir():
            list(folder.iterdir())
    return found
