"""Ask a run to stop in good order: it saves a checkpoint, ends, and goes on when started again.

A job's script makes the file that the variable STAMPEDE_STOP_FILE names, such as before a time
limit (see ``slurm/``). A file reaches the processes of all nodes, also those behind torchrun, which
a signal does not.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

VARIABLE = "STAMPEDE_STOP_FILE"
EXIT_CODE = 75
"""Of a run that has stopped and can go on: EX_TEMPFAIL of sysexits.h."""
LOOK_EVERY_S = 1.0


class RunStopped(SystemExit):  # noqa: N818 - no error: the run was asked to
    """Ends a run that was asked to stop, after its checkpoint; exit code 75."""

    def __init__(self) -> None:
        super().__init__(EXIT_CODE)


class StopFile:
    """Looks for the file now and then.

    Arguments
    ---------
    path : Path | None
        The file; None: the run is never asked.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._looked_at_s = -LOOK_EVERY_S
        self._is_there = False

    @classmethod
    def from_environment(cls) -> StopFile:
        """Return the one that the environment names."""
        text = os.environ.get(VARIABLE)
        return cls(Path(text) if text else None)

    @property
    def is_there(self) -> bool:
        """Whether the file was seen; the disk is asked at most once a second."""
        if self.path is None or self._is_there:
            return self._is_there
        now_s = time.monotonic()
        if now_s - self._looked_at_s >= LOOK_EVERY_S:
            self._looked_at_s = now_s
            self._is_there = self.path.exists()
        return self._is_there

    def end_if_asked(self) -> None:
        """End a run that has not begun: torchrun starts ranks again that have stopped.

        Raises
        ------
        RunStopped
            If the file is there.
        """
        if self.is_there:
            sys.stderr.write(f"{self.path} is there: the run stops before it begins.\n")
            raise RunStopped
