"""Which rows of the joint an utterance needs: all cells of its lattice, or a band of them.

A row is one cell (utterance, encoder step, place between tokens). Rows are numbered without gaps,
utterance by utterance, so that padding costs nothing; where each lies is computed from its number
on the device, a chunk at a time.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class Chunk(NamedTuple):
    """Some neighbouring rows; R of them, each [R].

    Arguments
    ---------
    enc : Tensor
        Row of the encoder's output, flattened to [B * E, J].
    pred : Tensor
        Row of the predictor's output, flattened to [B * P, J].
    cell : Tensor
        Cell of the lattice, flattened from [B, E, P]; B * E * P for rows that are padding.
    label : Tensor
        Class of the label that may follow; 0 where none may.
    has_label : Tensor
        bool.
    """

    enc: Tensor
    pred: Tensor
    cell: Tensor
    label: Tensor
    has_label: Tensor


class Rows(Protocol):
    """Numbers and places of rows."""

    @property
    def num_rows(self) -> int:
        """Their number."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """B, E, P."""

    @property
    def num_steps(self) -> Tensor:
        """[B] int64."""

    @property
    def num_tokens(self) -> Tensor:
        """[B] int64."""

    def chunk(self, first: int, last: int) -> Chunk:
        """Return rows [first, last)."""


@dataclass(frozen=True)
class LatticeRows:
    """All cells with step < E_b and place <= U_b.

    Arguments
    ---------
    shape : tuple[int, int, int]
        B, E, P.
    tokens : Tensor
        [B, U] int64.
    num_steps : Tensor
        [B] int64.
    num_tokens : Tensor
        [B] int64.
    num_rows : int
        At least their number; rows beyond it are padding.
    """

    shape: tuple[int, int, int]
    tokens: Tensor
    num_steps: Tensor
    num_tokens: Tensor
    num_rows: int

    def chunk(self, first: int, last: int) -> Chunk:
        """Return rows [first, last)."""
        batch, steps, places = self.shape
        widths = self.num_tokens + 1
        counts = self.num_steps * widths
        ends = counts.cumsum(0)
        row = torch.arange(first, last, device=ends.device)
        owner = torch.searchsorted(ends, row, right=True).clamp(max=batch - 1)
        inside = row - (ends - counts)[owner]
        step = torch.div(inside, widths[owner], rounding_mode="floor")
        place = inside - step * widths[owner]
        is_real = row < ends[-1]
        step = step.clamp(max=steps - 1)
        return make_chunk(self, owner, step, place, is_real)


@dataclass(frozen=True)
class BandRows:
    """A band of `width` places for each step, from a first place that moves on with the steps.

    Arguments
    ---------
    shape : tuple[int, int, int]
        B, E, P.
    tokens : Tensor
        [B, U] int64.
    num_steps : Tensor
        [B] int64.
    num_tokens : Tensor
        [B] int64.
    starts : Tensor
        [B, E] int64 first place of each step.
    width : int
        Places of a step, at most P.
    """

    shape: tuple[int, int, int]
    tokens: Tensor
    num_steps: Tensor
    num_tokens: Tensor
    starts: Tensor
    width: int

    @property
    def num_rows(self) -> int:
        """B * E * width."""
        return self.shape[0] * self.shape[1] * self.width

    def chunk(self, first: int, last: int) -> Chunk:
        """Return rows [first, last)."""
        _, steps, places = self.shape
        row = torch.arange(first, last, device=self.starts.device)
        line = torch.div(row, self.width, rounding_mode="floor")
        owner = torch.div(line, steps, rounding_mode="floor")
        step = line - owner * steps
        place = self.starts[owner, step] + row - line * self.width
        is_real = (step < self.num_steps[owner]) & (place <= self.num_tokens[owner])
        return make_chunk(self, owner, step, place.clamp(max=places - 1), is_real)


def make_chunk(
    rows: LatticeRows | BandRows, owner: Tensor, step: Tensor, place: Tensor, is_real: Tensor
) -> Chunk:
    """Return the chunk of rows at these places."""
    batch, steps, places = rows.shape
    enc, pred = owner * steps + step, owner * places + place
    has_label = is_real & (place < rows.num_tokens[owner])
    if rows.tokens.shape[1]:
        label = rows.tokens[owner, place.clamp(max=rows.tokens.shape[1] - 1)]
    else:
        label = torch.zeros_like(owner)
    cell = torch.where(is_real, enc * places + place, batch * steps * places)
    return Chunk(enc, pred, cell, torch.where(has_label, label, 0), has_label)
