"""Memory that processes share, and that is gone when they are, however they end."""

from __future__ import annotations

import mmap
import os
from multiprocessing import reduction
from typing import Any

import torch
from torch import Tensor
from torch import multiprocessing as _  # noqa: F401 - tensors on a GPU then travel as IPC handles


class SharedArray:
    """A flat tensor in shared memory that may be given to the processes one starts.

    On the CPU it is an anonymous file in memory (memfd): it has no name, so nothing is left behind
    whatever is killed, and the size of /dev/shm does not bound it. On a GPU it is a plain tensor,
    which other processes open by CUDA IPC; the process that made it must outlive them.

    Arguments
    ---------
    numel : int
        Elements, all zero at first.
    dtype : torch.dtype
        Of the elements.
    device : str
        "cpu" or "cuda...".
    """

    def __init__(self, numel: int, dtype: torch.dtype, *, device: str = "cpu") -> None:
        self.numel, self.dtype, self.device = numel, dtype, device
        self._fd: int | None = None
        self.tensor: Tensor
        if device != "cpu":
            self.tensor = torch.zeros(numel, dtype=dtype, device=device)
            return
        self._fd = os.memfd_create("stampede-hogwild", os.MFD_CLOEXEC)
        os.ftruncate(self._fd, self._num_bytes)
        self._map()

    @property
    def _num_bytes(self) -> int:
        return max(self.numel, 1) * self.dtype.itemsize

    def _map(self) -> None:
        assert self._fd is not None
        memory = mmap.mmap(self._fd, self._num_bytes)
        # The tensor keeps the mapping alive; the descriptor stays open to be handed on.
        self.tensor = torch.frombuffer(memory, dtype=self.dtype)[: self.numel]

    def __getstate__(self) -> dict[str, Any]:
        state = {"numel": self.numel, "dtype": self.dtype, "device": self.device}
        if self._fd is None:
            return {**state, "tensor": self.tensor}
        return {**state, "fd": reduction.DupFd(self._fd)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.numel, self.dtype, self.device = state["numel"], state["dtype"], state["device"]
        self._fd = None
        if "tensor" in state:
            self.tensor = state["tensor"]
        else:
            self._fd = state["fd"].detach()
            self._map()

    def __del__(self) -> None:
        if self.__dict__.get("_fd") is not None:
            os.close(self._fd)  # type: ignore[arg-type]
