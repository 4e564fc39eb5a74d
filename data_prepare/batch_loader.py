"""What the loaders of a split and of a mixture share: iteration, position, checkpoints."""

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from speechbrain.utils.checkpoints import mark_as_loader, mark_as_saver, register_checkpoint_hooks
from torch.utils.data import DataLoader, Dataset

from data_prepare.batch import PackedBatch, SpeechBatch
from data_prepare.cursor import Cursor
from data_prepare.read_ahead import READ_AHEAD_BYTES, AheadSampler

logger = logging.getLogger(__name__)


@register_checkpoint_hooks
class BatchLoader(DataLoader[Any]):
    """Gives the batches that a cursor asks for, and remembers where the trainer stands.

    Arguments
    ---------
    dataset : Dataset[PackedBatch]
        From a cursor's request to a batch.
    cursor : Cursor
        Asks for this rank's batches.
    num_workers : int
        Loader worker processes; 0 loads in the calling process.
    prefetch_factor : int | None
        Batches that each worker reads ahead (PyTorch: 2).
    persistent_workers : bool
        Workers live as long as the loader, not one epoch.
    multiprocessing_context : str | None
        "fork", "spawn" or "forkserver"; the platform's own by default.
    pin_memory : bool
        Batches in page-locked memory, for faster copies to a GPU.
    read_ahead_bytes : int
        What each loader worker reads ahead in a thread; 0 for nothing.

    Raises
    ------
    ValueError
        If `read_ahead_bytes` is negative.
    """

    def __init__(
        self,
        dataset: Dataset[PackedBatch],
        cursor: Cursor,
        *,
        num_workers: int = 0,
        prefetch_factor: int | None = None,
        persistent_workers: bool = True,
        multiprocessing_context: str | None = None,
        pin_memory: bool = False,
        read_ahead_bytes: int = READ_AHEAD_BYTES,
    ):
        self.cursor = cursor
        super().__init__(
            dataset,
            batch_size=None,
            sampler=AheadSampler(cursor, num_workers=num_workers, num_bytes=read_ahead_bytes),
            collate_fn=_as_it_is,
            # Its own generator: the loader never draws from the global random state.
            generator=torch.Generator(),
            num_workers=num_workers,
            pin_memory=pin_memory,
            prefetch_factor=prefetch_factor if num_workers else None,
            persistent_workers=persistent_workers and num_workers > 0,
            multiprocessing_context=multiprocessing_context if num_workers else None,
        )

    def __getstate__(self) -> dict[str, Any]:
        # Neither running workers nor a generator (shared memory that may be gone) go elsewhere.
        return self.__dict__ | {"_iterator": None, "generator": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state | {"generator": torch.Generator()})

    def begin_statistics(self) -> None:
        """Count anew: an epoch begins, or goes on after a resume."""
        raise NotImplementedError

    def note(self, batch: SpeechBatch, *, wait_s: float) -> None:
        """Count a batch and what is bad in it; an error where that is too much."""
        raise NotImplementedError

    def __len__(self) -> int:
        """Batches of the epoch on this rank.

        Those that were had before a resume are counted too: `Brain.fit` starts its progress bar
        at its step, so the bar ends full.
        """
        return len(self.cursor)

    def __iter__(self) -> Iterator[SpeechBatch]:  # type: ignore[override]
        self.cursor.begin()
        self.begin_statistics()
        batches = super().__iter__()
        while True:
            started_s = time.perf_counter()
            item: Any = next(batches, None)
            if item is None:
                break
            batch = item.unpack() if isinstance(item, PackedBatch) else item
            self.note(batch, wait_s=time.perf_counter() - started_s)
            self.cursor.take(batch)
            yield batch
        self.cursor.end()

    def state_dict(self) -> dict[str, Any]:
        """Return the global position, the same on all ranks: plain values, ready for JSON."""
        return self.cursor.state()

    def load_state_dict(self, state: dict[str, Any], *, end_of_epoch: bool = False) -> None:
        """Go on at a position.

        Arguments
        ---------
        state : dict[str, Any]
            From `state_dict`, by any number of ranks.
        end_of_epoch : bool
            Begin a new epoch there; else the epoch goes on (with no batch, if it was complete).

        Raises
        ------
        ValueError
            If the state belongs to other data or another plan.
        """
        self.cursor.load(state, end_of_epoch=end_of_epoch)

    @mark_as_saver
    def _save(self, path: Path) -> None:
        Path(path).write_text(json.dumps(self.state_dict(), indent=1) + "\n", encoding="utf-8")

    @mark_as_loader
    def _load(self, path: Path, end_of_epoch: bool) -> None:
        if self.cursor.is_iterated:
            # A checkpoint is loaded for its model, to evaluate it: data go on where they are.
            logger.debug("loader: iterated already, position in %s not taken", path)
            return
        self.load_state_dict(
            json.loads(Path(path).read_text(encoding="utf-8")), end_of_epoch=end_of_epoch
        )


def _as_it_is(batch: Any) -> Any:
    return batch
