"""Where a loader stands: from the sequence of batches to this rank's requests."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import Sampler

from data_prepare.batch import BatchRequest, SpeechBatch
from data_prepare.index import ShardIndex
from data_prepare.walking import Walk


def ranks_in_use() -> tuple[int, int]:
    """Return rank and number of ranks by torch.distributed, 0 and 1 where it is not in use."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise RuntimeError(
            f"loader: WORLD_SIZE is {os.environ['WORLD_SIZE']} but torch.distributed is not "
            "initialised; expected a process group, else every rank loads everything; call "
            "ddp_init_group first, or pass rank and world_size."
        )
    return 0, 1


class Cursor(Sampler[BatchRequest]):
    """Asks for the batches of this rank, from the present position on.

    It counts a batch when the trainer gets it, not when it is asked for: loader workers read
    ahead. It does not know the loader, so that a loader that is dropped ends its workers at once.

    Arguments
    ---------
    indexes : Sequence[ShardIndex]
        Of the split, or of each corpus of a mixture.
    sequence : Walk
        A `data_prepare.sequence.BatchSequence`, or the mixture.
    rank : int | None
        By default from torch.distributed, or 0 where it is not in use.
    world_size : int | None
        By default from torch.distributed, or 1 where it is not in use.
    """

    def __init__(
        self,
        indexes: Sequence[ShardIndex],
        sequence: Walk,
        *,
        rank: int | None = None,
        world_size: int | None = None,
    ):
        self.indexes = list(indexes)
        self.sequence = sequence
        self.is_iterated = False
        self._ranks = None if rank is None or world_size is None else (rank, world_size)
        self._position = sequence.start
        # Whether the next iteration begins an epoch, or goes on in the one of the position.
        self._epoch_is_over = False

    def __len__(self) -> int:
        """Batches of the epoch, those that were had already included."""
        return self.sequence.epoch_length(self.present())

    def __iter__(self) -> Iterator[BatchRequest]:
        rank, _ = self.ranks()
        for step in self.sequence.walk(self._position, rank=rank):
            rows = self.indexes[step.corpus].utterances[step.rows]
            yield BatchRequest(rows, step.is_padding, step.ends_epoch, step.position, step.corpus)

    def begin(self) -> None:
        """Begin an epoch, or go on in one that a checkpoint left open."""
        self._position = self.present()
        self._epoch_is_over = False
        self.is_iterated = True

    def take(self, batch: SpeechBatch) -> None:
        """Note that the trainer has a batch."""
        self._position = batch.position

    def end(self) -> None:
        """Note that the trainer has had the whole epoch."""
        self._epoch_is_over = True

    def present(self) -> Any:
        """Return where the running or the next iteration's epoch stands."""
        position = self._position
        if self._epoch_is_over:
            position = self.sequence.next_epoch(position)
        elif self.sequence.is_fixed and self.is_iterated:
            position = self.sequence.start
        return self.sequence.for_ranks(position, self.ranks()[1])

    def ranks(self) -> tuple[int, int]:
        """Return rank and number of ranks."""
        if self._ranks is not None:
            return self._ranks
        return ranks_in_use()

    def state(self) -> dict[str, Any]:
        """Return the global position, the same on all ranks: plain values, ready for JSON."""
        return self.sequence.state(self._position)

    def load(self, state: dict[str, Any], *, end_of_epoch: bool) -> None:
        """Go on at a state, with a new epoch or in the one that it left open."""
        self._position = self.sequence.position(state)
        self._epoch_is_over = end_of_epoch
        self.is_iterated = False
