"""Kill a process while it makes a shard, at a place that cannot be missed.

A recording is replaced by a named pipe: whoever opens it waits. So the process that waits is in
the middle of a shard, and can be found. Only one process may need the recording at a time.
"""

import errno
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

TIMEOUT_S = 300


class StuckRecording:
    """A recording at which each process that opens it stops."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._aside = path.with_name(f"{path.name}.aside")
        path.rename(self._aside)
        os.mkfifo(path)

    @contextmanager
    def reader(self, *, is_over: Callable[[], bool] = lambda: False) -> Iterator[int]:
        """Wait for a process that opens the recording; it is held, and its id told, meanwhile."""
        pipe = self._open(is_over)
        try:
            yield self._find_reader()
        finally:
            os.close(pipe)

    def kill_reader(self, *, mend: bool, is_over: Callable[[], bool] = lambda: False) -> None:
        """Wait for a process that opens the recording and kill it.

        With `mend` the recording is as before for the next one.
        """
        with self.reader(is_over=is_over) as pid:
            if mend:
                self.mend()
            else:  # a new pipe: the next one shall not meet the open end of this one
                fresh = self.path.with_name("fresh")
                os.mkfifo(fresh)
                fresh.replace(self.path)
            os.kill(pid, signal.SIGKILL)
            while is_alive(pid):
                time.sleep(0.01)

    def mend(self) -> None:
        """Put the recording back."""
        self._aside.replace(self.path)

    def _open(self, is_over: Callable[[], bool]) -> int:
        end_s = time.monotonic() + TIMEOUT_S
        while not is_over() and time.monotonic() < end_s:
            try:
                return os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError as error:
                if error.errno != errno.ENXIO:  # nobody reads
                    raise
                time.sleep(0.01)
        raise AssertionError("nobody has opened the recording")

    def _find_reader(self) -> int:
        end_s = time.monotonic() + TIMEOUT_S
        while time.monotonic() < end_s:
            for process in Path("/proc").iterdir():
                if process.name.isdigit() and self.path in _open_files(process):
                    return int(process.name)
            time.sleep(0.01)
        raise AssertionError("no process has the recording open")


def _open_files(process: Path) -> list[Path]:
    if process.name == str(os.getpid()):
        return []
    try:
        return [link.readlink() for link in (process / "fd").iterdir()]
    except OSError:  # it has ended, or an open file was closed meanwhile
        return []


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter if it ends while we read
        return False
