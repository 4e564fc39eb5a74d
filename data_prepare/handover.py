"""Hand audio from a loader worker to the trainer through shared memory that is used again.

New shared memory costs a page fault for every 4 KB on both sides, and a talk over a socket: 15 to
25 % of the time that decoding takes; a copy on the trainer's side another 9 %. So a worker keeps
its buffers and decodes into one that the trainer has dropped, then sends only its name; the
trainer keeps them mapped as long as the worker lives, and its batch is the buffer itself. Two marks
at the start of a buffer say whose turn it is and whether the trainer has it. A buffer that never
comes back is lost to its worker, no more.
"""

import os
import secrets
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MAX_BUFFERS = 16  # of a worker; what is taken beyond that is used only once, and copied
_HEADER = 16  # float32 before the samples: two marks, then up to the next cache line
_NUM_BYTES = 4  # of a float32
_IS_TAKEN, _IS_MAPPED = 0, 1  # places of the marks

Name = tuple[int, str, int]
Samples = NDArray[np.float32]
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
        name, is_kept = (self._process, self._token, self._count), len(self._buffers) < MAX_BUFFERS
        buffer = Sent(name, num_utterances * num_samples, is_kept=is_kept)
        if is_kept:
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
    is_kept : bool
        Whether the worker will use it again.
    """

    def __init__(self, name: Name, num_samples: int, *, is_kept: bool = True):
        storage = torch.UntypedStorage._new_shared(_NUM_BYTES * (_HEADER + num_samples))
        self._name = name
        self._is_kept = is_kept
        self._tensor = torch.tensor([], dtype=torch.float32).set_(storage)
        self._numbers: Samples = self._tensor.numpy()
        self._numbers[:_HEADER] = 0
        self._shape = (0, 0)

    def __reduce__(self) -> tuple[Any, ...]:
        is_known = bool(self._numbers[_IS_MAPPED])
        tensor = None if is_known else self._tensor
        return Received, (self._name, self._shape, tensor, self._is_kept)

    def is_free(self) -> bool:
        """Tell whether the trainer has dropped what it held."""
        return not self._numbers[_IS_TAKEN]

    def takes(self, num_utterances: int, num_samples: int) -> bool:
        """Make it hold [B, S] samples and return True, if there is room for them."""
        if _HEADER + num_utterances * num_samples > len(self._numbers):
            return False
        self._shape = (num_utterances, num_samples)
        self._numbers[_IS_TAKEN] = 1
        return True

    def samples(self) -> Samples:
        """Return the place of the samples, [B, S] float32."""
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
    """A buffer on the trainer's side; it goes back when this and its samples are dropped.

    Arguments
    ---------
    name : Name
        See `Sent`.
    shape : tuple[int, int]
        B and S.
    tensor : Tensor | None
        The buffer, the first time that it comes.
    is_kept : bool
        False: it is not used again, so it shall not be held open.
    """

    def __init__(self, name: Name, shape: tuple[int, int], tensor: Tensor | None, is_kept: bool):
        if tensor is not None:
            _forget_dead()
            tensor[_IS_MAPPED] = 1
        if tensor is not None and is_kept:
            _mapped[name] = tensor
        numbers = _mapped[name] if tensor is None else tensor
        self._lease = _Lease(numbers.numpy(), shape)
        self._is_kept = is_kept

    def floats(self) -> Tensor:
        """Return the samples, [B, S] float32 in [-1, 1); the buffer is theirs while they live."""
        samples = np.asarray(self._lease)
        return torch.from_numpy(samples if self._is_kept else samples.copy())


class _Lease:
    """The samples of a buffer as NumPy takes them; whatever views them keeps this alive."""

    def __init__(self, numbers: Samples, shape: tuple[int, int]):
        self._numbers = numbers
        # A process that is forked while this lives must not give it back as well.
        self._process = os.getpid()
        self.__array_interface__ = _samples(numbers, shape).__array_interface__

    def __del__(self) -> None:
        if self.__dict__.get("_process") == os.getpid():
            self._numbers[_IS_TAKEN] = 0


def _samples(numbers: Samples, shape: tuple[int, int]) -> Samples:
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
