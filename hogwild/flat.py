"""Tensors laid out one after the other in flat buffers, one buffer for each type of number."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hogwild.memory import SharedArray

ALIGNMENT_BYTES = 64
"""Every tensor begins where torch's own allocator would let it begin: the libraries then take the
same paths through it, and results are the same to the last bit."""

Flats = dict[torch.dtype, Tensor]


@dataclass(frozen=True)
class Slot:
    """The place of one tensor."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int

    def of(self, flats: Flats) -> Tensor:
        """Return the tensor in some buffers, as a view."""
        end = self.start + math.prod(self.shape)
        return flats[self.dtype][self.start : end].view(self.shape)


class FlatLayout:
    """Where each of some tensors lies.

    Arguments
    ---------
    named : Iterable[tuple[str, Tensor]]
        Names and tensors; only shapes and types are kept.
    """

    def __init__(self, named: Iterable[tuple[str, Tensor]]) -> None:
        self.slots: list[Slot] = []
        self.sizes: dict[torch.dtype, int] = {}
        for name, tensor in named:
            start = self.sizes.get(tensor.dtype, 0)
            self.slots.append(Slot(name, tensor.dtype, tuple(tensor.shape), start))
            step = max(1, ALIGNMENT_BYTES // tensor.dtype.itemsize)
            self.sizes[tensor.dtype] = start + -(-tensor.numel() // step) * step

    def allocate(self, *, device: str = "cpu") -> dict[torch.dtype, SharedArray]:
        """Return new shared buffers of zeros."""
        return {dtype: SharedArray(n, dtype, device=device) for dtype, n in self.sizes.items()}

    def empty(self, *, device: str = "cpu") -> Flats:
        """Return new buffers of zeros in memory of this process alone."""
        return {
            dtype: torch.zeros(n, dtype=dtype, device=device) for dtype, n in self.sizes.items()
        }

    def views(self, flats: Flats) -> list[Tensor]:
        """Return all tensors in some buffers, in the order of the layout."""
        return [slot.of(flats) for slot in self.slots]

    def fill(self, flats: Flats, tensors: Sequence[Tensor]) -> None:
        """Copy tensors into buffers."""
        with torch.no_grad():
            for view, tensor in zip(self.views(flats), tensors, strict=True):
                view.copy_(tensor)

    def attach(self, flats: Flats, tensors: Sequence[Tensor]) -> None:
        """Let tensors be views of buffers; they stay the same Python objects.

        Arguments
        ---------
        flats : Flats
            The buffers.
        tensors : Sequence[Tensor]
            Of the same shapes and types as those of the layout.

        Raises
        ------
        RuntimeError
            If they differ.
        """
        for slot, tensor in zip(self.slots, tensors, strict=True):
            if (tuple(tensor.shape), tensor.dtype) != (slot.shape, slot.dtype):
                raise RuntimeError(
                    f"{slot.name}: has shape {tuple(tensor.shape)} and type {tensor.dtype} here; "
                    f"expected {slot.shape} and {slot.dtype}, as in the process that shares it; "
                    "build the same model in all processes."
                )
            tensor.data = slot.of(flats)

    def check(self, flats: Flats, tensors: Sequence[Tensor], *, when: str) -> None:
        """Refuse tensors that are no longer views of the buffers.

        Arguments
        ---------
        flats : Flats
            The buffers.
        tensors : Sequence[Tensor]
            In the order of the layout.
        when : str
            For the error.

        Raises
        ------
        RuntimeError
            If the memory of one is another than at :meth:`attach`.
        """
        for slot, tensor in zip(self.slots, tensors, strict=True):
            if tensor.data_ptr() != slot.of(flats).data_ptr():
                raise RuntimeError(
                    f"{slot.name}: left the shared memory ({when}); expected it to be changed in "
                    "place only; look for `.data =`, `flatten_parameters` or a swapped module."
                )


def arrays_to_flats(arrays: dict[torch.dtype, SharedArray]) -> Flats:
    """Return the tensors of shared buffers."""
    return {dtype: array.tensor for dtype, array in arrays.items()}


def cloned(flats: Flats, *, device: str | None = None) -> Flats:
    """Return a copy of buffers in memory of this process, on the CPU unless told otherwise."""
    return {dtype: flat.detach().to(device or "cpu", copy=True) for dtype, flat in flats.items()}


def copy_into(target: Flats, source: Flats) -> None:
    """Copy buffers of one layout onto others."""
    for dtype, flat in target.items():
        flat.copy_(source[dtype])
