"""Two gloo processes that leave their results in files."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def results_of_ranks(main: Callable[[int, int, Path], None], folder: Path) -> list[Any]:
    """Run ``main(rank, port, folder)`` on two ranks; return what each saved as rank<n>.pt."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(main, args=(port, folder), nprocs=2)
    return [torch.load(folder / f"rank{n}.pt", weights_only=True) for n in range(2)]
