"""Hand audio from a loader worker to the trainer through shared memory that is used again.

New shared memory costs a page fault for every 4 KB on both sides, and a talk over a socket: 15 to
25 % of the time that decoding takes. So a worker keeps its buffers, writes into one that the
trainer has read and then sends only its name; the trainer keeps them mapped as long as the worker
lives. Two marks at the start of a buffer say whose turn it is and whether the trainer has it. A
buffer that never comes back is lost to its worker, no more. The trainer's own batches are copies.
"""

import os
import secrets
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MAX_BUFFERS = 16  # of a worker; what is on its way beyond that is used only once
_HEADER = 32  # int16 before the samples: two marks, then up to the next cache line
_IS_TAKEN, _IS_MAPPED = 0, 1  # places of the marks
_INT16_SCALE = np.float32(1 / 32768)

Name = tuple[int, str, int]
_mapped: dict[Name, Tensor] = {}


class Buffers:
    """The shared-memory buffers of one loader worker; empty again when pickled or forked."""

    def __init__(self) -> None:
        self._process = 0
        self._token = ""
        self._count = 0
        self._buffers: list[Sent] = []

    def __reduce__(self) -> tuple[Any, ...]:
        return Buffers, ()

    def take(self, num_utterances: int, num_samples: int) -> "Sent":
        """Return a buffer for [B, S] samples, its content undefined."""
        if self._process != os.getpid():
            self._process, self._token, self._buffers = os.getpid(), secrets.token_hex(8), []
        free = [buffer for buffer in self._buffers if buffer.is_free()]
        for buffer in free:
            if buffer.takes(num_utterances, num_samples):
                return buffer
        if free:
            self._buffers.remove(free[0])
        self._count += 1
        buffer = Sent((self._process, self._token, self._count), num_utterances * num_samples)
        if len(self._buffers) < MAX_BUFFERS:
            self._buffers.append(buffer)
        buffer.takes(num_utterances, num_samples)
        return buffer


class Sent:
    """A buffer on the worker's side; pickled, it becomes `Received`.

    Arguments
    ---------
    name : Name
        Process, random token, number.
    num_samples : int
        How much it holds.
    """

    def __init__(self, name: Name, num_samples: int):
        storage = torch.UntypedStorage._new_shared(2 * (_HEADER + num_samples))
        self._name = name
        self._tensor = torch.tensor([], dtype=torch.int16).set_(storage)
        self._numbers: NDArray[np.int16] = self._tensor.numpy()
        self._numbers[:_HEADER] = 0
        self._shape = (0, 0)

    def __reduce__(self) -> tuple[Any, ...]:
        is_known = bool(self._numbers[_IS_MAPPED])
        return Received, (self._name, self._shape, None if is_known else self._tensor)

    def is_free(self) -> bool:
        """Tell whether the trainer has read what it held."""
        return not self._numbers[_IS_TAKEN]

    def takes(self, num_utterances: int, num_samples: int) -> bool:
        """Make it hold [B, S] samples and return True, if there is room for them."""
        if _HEADER + num_utterances * num_samples > len(self._numbers):
            return False
        self._shape = (num_utterances, num_samples)
        self._numbers[_IS_TAKEN] = 1
        return True

    def samples(self) -> NDArray[np.int16]:
        """Return the place of the samples, [B, S] int16."""
        return _samples(self._numbers, self._shape)

    def cut(self, num_utterances: int, num_samples: int) -> None:
        """Keep only the first B utterances, S samples of each; with none it is free again."""
        if num_utterances == 0:
            self._numbers[_IS_TAKEN] = 0  # It will not be sent.
        elif (num_utterances, num_samples) != self._shape:
            kept = self.samples()[:num_utterances, :num_samples].copy()
            self._shape = (num_utterances, num_samples)
            self.samples()[:] = kept


class Received:
    """A buffer on the trainer's side, which gives it back when it is dropped.

    Arguments
    ---------
    name : Name
        See `Sent`.
    shape : tuple[int, int]
        B and S.
    tensor : Tensor | None
        The buffer, the first time that it comes.
    """

    def __init__(self, name: Name, shape: tuple[int, int], tensor: Tensor | None):
        if tensor is not None:
            _forget_dead()
            _mapped[name] = tensor
            tensor[_IS_MAPPED] = 1
        self._numbers: NDArray[np.int16] = _mapped[name].numpy()
        self._shape = shape
        # A process that is forked while this lives must not give it back as well.
        self._process = os.getpid()

    def __del__(self) -> None:
        if self.__dict__.get("_process") == os.getpid():
            self._numbers[_IS_TAKEN] = 0

    def floats(self) -> Tensor:
        """Return a copy of the samples, [B, S] float32 in [-1, 1)."""
        # Half the time of torch.mul, which promotes int16 sample by sample.
        return torch.from_numpy(np.multiply(_samples(self._numbers, self._shape), _INT16_SCALE))


def _samples(numbers: NDArray[np.int16], shape: tuple[int, int]) -> NDArray[np.int16]:
    return numbers[_HEADER : _HEADER + shape[0] * shape[1]].reshape(shape)


def _forget_dead() -> None:
    """Drop the buffers of workers that have ended."""
    names = list(_mapped)
    for process in {name[0] for name in names}:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            for name in names:
                if name[0] == process:
                    _mapped.pop(name, None)
        except PermissionError:
            continue  # Somebody else's process has its number now.
