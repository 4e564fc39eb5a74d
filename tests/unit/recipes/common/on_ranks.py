"""Two gloo processes that leave their results in files."""

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

TIMEOUT_S = 180.0
"""For the start of both, which takes a minute on a busy machine, and seconds of work."""


def results_of_ranks(main: Callable[[int, int, Path], None], folder: Path) -> list[Any]:
    """Run ``main(rank, port, folder)`` on two ranks; return what each saved as rank<n>.pt."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = torch.multiprocessing.spawn(main, args=(port, folder), nprocs=2, join=False)
    end = time.monotonic() + TIMEOUT_S
    try:
        while not context.join(timeout=max(0.0, end - time.monotonic())):
            if time.monotonic() >= end:
                pytest.fail(f"ranks: not done after {TIMEOUT_S:g} s; expected no hang")
    finally:
        for process in context.processes:
            process.kill()
            process.join()
    return [torch.load(folder / f"rank{n}.pt", weights_only=True) for n in range(2)]
