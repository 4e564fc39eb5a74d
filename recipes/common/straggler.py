"""A process that is slow on purpose, to compare how ways of training bear it."""

from __future__ import annotations

import time


class Straggler:
    """Sleeps before each batch, in proportion to what the process has computed since the last one.

    Computing is counted in processor time of the calling thread, so waiting for others (DDP) does
    not make it sleep longer.

    Arguments
    ---------
    share : float
        Part of the time asleep, within [0, 1); 0.5 makes the process half as fast.
    """

    def __init__(self, share: float) -> None:
        self._ratio = share / (1.0 - share)
        self._busy_s: float | None = None

    def rest(self) -> None:
        """Sleep for what was computed since the last call."""
        now_s = time.thread_time()
        if self._busy_s is not None:
            time.sleep((now_s - self._busy_s) * self._ratio)
        self._busy_s = now_s
