"""Stream a prepared split as batches: exactly once, shuffled, equal on all ranks, resumable.

The batches of a pass are planned from the index (`data_prepare.plan`), dealt to ranks
(`data_prepare.deal`) and asked for one by one; a loader worker reads, decodes and collates whole
batches. Workers take them round robin and the loader keeps their order, so the number of workers
changes nothing but speed. Nothing in them is random.
"""

import json
import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from speechbrain.utils.checkpoints import mark_as_loader, mark_as_saver, register_checkpoint_hooks
from torch.utils.data import DataLoader

from data_prepare.accounting import FaultBudget, LoaderStatistics
from data_prepare.batch import BatchReader, BatchRequest, PackedBatch, SpeechBatch, Transform
from data_prepare.cursor import Cursor
from data_prepare.index import ShardIndex
from data_prepare.plan import Planner
from data_prepare.plan_options import PlanOptions
from data_prepare.reading import ShardReader
from data_prepare.sequence import BatchSequence
from data_prepare.storage import RemoteOptions, Storage

logger = logging.getLogger(__name__)


@register_checkpoint_hooks
class ShardLoader(DataLoader[Any]):
    """Loads a prepared split as SpeechBrain batches.

    One iteration is one epoch: what is left of a pass over the corpus, or `batches_per_epoch`
    batches of the endless sequence of passes. The next iteration goes on where it ended; without
    shuffling and `batches_per_epoch` each iteration is a whole pass, as validation wants it.
    Register it with the Checkpointer (`add_recoverable`) to resume in mid-epoch, also with
    another number of ranks or workers; nothing that came before is read again.

    Arguments
    ---------
    folder : str | Path | Storage
        Folder of the split, with its index.json; or the address of such a folder, "s3://..." or
        "https://...", or its storage.
    max_batch_s : float
        Bound of a batch in padded seconds. More on this and what follows, up to `shards`, in
        `data_prepare.plan_options.PlanOptions`.
    max_utterances : int | None
        Bound of a batch in utterances.
    shuffle : bool
        A new order in each pass, or one sorted by length.
    seed : int
        Of the shuffled order.
    window_shards : int
        Shards that are shuffled together.
    jitter : float
        Random share added to lengths before sorting.
    group_batches : int
        Batches of like length that stay together.
    order : Literal["descending", "ascending"]
        "descending" or "ascending" length, where not shuffled.
    min_utterance_s : float
        Shorter utterances are left out and counted.
    max_utterance_s : float | None
        Longer utterances are left out and counted.
    too_long : Literal["error", "skip"]
        "error" or "skip" for utterances longer than `max_batch_s`.
    shards : tuple[int, int] | None
        [first, last) range of shards to use.
    transforms : Transform | Sequence[Transform]
        Each takes and returns the dict of an utterance, in the loader worker.
    batches_per_epoch : int | None
        Length of a nominal epoch, in batches of each rank.
    max_bad_share : float
        Utterances that do not match the index or do not decode, or whose shard is missing or
        changed, are skipped and counted up to this share of a pass (of each rank's part); beyond
        it, and by default at once, an error. The plan stays the same on all ranks.
    rank : int | None
        Which part to load; by default from torch.distributed, or all where it is not in use.
    world_size : int | None
        Number of parts.
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
    check : Literal["size", "full"]
        "size" or "full": how the index is compared with its files, see `ShardIndex.load`.
    remote : RemoteOptions | None
        Cache, retries and access for an address; see `data_prepare.storage.RemoteOptions`.

    Attributes
    ----------
    statistics : LoaderStatistics
        Of the running or last epoch.

    Raises
    ------
    ValueError
        If an option is out of range, or the index does not fit its files.
    """

    def __init__(  # noqa: PLR0913 - the options of a YAML block, all by keyword
        self,
        folder: str | Path | Storage,
        *,
        max_batch_s: float,
        max_utterances: int | None = None,
        shuffle: bool = False,
        seed: int = 0,
        window_shards: int = 8,
        jitter: float = 0.03,
        group_batches: int = 1,
        order: Literal["descending", "ascending"] = "descending",
        min_utterance_s: float = 0.0,
        max_utterance_s: float | None = None,
        too_long: Literal["error", "skip"] = "error",
        shards: tuple[int, int] | None = None,
        transforms: Transform | Sequence[Transform] = (),
        batches_per_epoch: int | None = None,
        max_bad_share: float = 0.0,
        rank: int | None = None,
        world_size: int | None = None,
        num_workers: int = 0,
        prefetch_factor: int | None = None,
        persistent_workers: bool = True,
        multiprocessing_context: str | None = None,
        pin_memory: bool = False,
        check: Literal["size", "full"] = "size",
        remote: RemoteOptions | None = None,
    ):
        _check_options(batches_per_epoch, rank=rank, world_size=world_size)
        self.index = ShardIndex.load(folder, check=check, remote=remote, tolerant=max_bad_share > 0)
        options = PlanOptions(
            max_batch_s=max_batch_s,
            max_utterances=max_utterances,
            shuffle=shuffle,
            seed=seed,
            window_shards=window_shards,
            jitter=jitter,
            group_batches=group_batches,
            order=order,
            min_utterance_s=min_utterance_s,
            max_utterance_s=max_utterance_s,
            too_long=too_long,
            shards=(shards[0], shards[1]) if shards is not None else None,
        )
        self.sequence = BatchSequence(
            Planner(self.index, options), batches_per_epoch=batches_per_epoch
        )
        self.statistics = LoaderStatistics()
        self._fault_budget = FaultBudget(
            max_bad_share, where=str(folder), find_key=self.index.find_key
        )
        self.cursor = Cursor([self.index], self.sequence, rank=rank, world_size=world_size)
        super().__init__(
            BatchReader(
                ShardReader(self.index),
                transforms=[transforms] if callable(transforms) else transforms,
            ),
            batch_size=None,
            sampler=self.cursor,
            collate_fn=_as_it_is,
            # Its own generator: the loader never draws from the global random state.
            generator=torch.Generator(),
            num_workers=num_workers,
            pin_memory=pin_memory,
            prefetch_factor=prefetch_factor if num_workers else None,
            persistent_workers=persistent_workers and num_workers > 0,
            multiprocessing_context=multiprocessing_context if num_workers else None,
        )

    def __len__(self) -> int:
        """Batches of the epoch on this rank.

        Those that were had before a resume are counted too: `Brain.fit` starts its progress bar
        at its step, so the bar ends full.
        """
        return len(self.cursor)

    def __iter__(self) -> Iterator[SpeechBatch]:  # type: ignore[override]
        self.cursor.begin()
        self.statistics = LoaderStatistics()
        batches = super().__iter__()
        while True:
            started_s = time.perf_counter()
            item: Any = next(batches, None)
            if item is None:
                break
            batch = item.unpack() if isinstance(item, PackedBatch) else item
            wait_s = time.perf_counter() - started_s
            self.statistics.add(batch, wait_s=wait_s, rate_hz=self.index.rate_hz)
            self._check_faults(batch)
            self.cursor.take(batch)
            yield batch
        self.cursor.end()

    def fetch(self, number: int, *, pass_number: int = 0) -> SpeechBatch:
        """Return batch `number` of a pass, read here and now; the position does not change.

        For trainers that hand out batch numbers themselves; `num_batches` says how many there are.
        """
        plan = self.sequence.plan(pass_number)
        rows = plan.order[plan.starts[number] : plan.starts[number + 1]]
        reader: Any = self.dataset
        batch: SpeechBatch = reader[BatchRequest(self.index.utterances[rows])].unpack()
        self._check_faults(batch)
        return batch

    def num_batches(self, pass_number: int = 0) -> int:
        """Return the batches of a pass, of all ranks together."""
        return self.sequence.plan(pass_number).num_batches

    def report(self) -> dict[str, Any]:
        """Return the figures of the present pass's plan, see `BatchPlan.report`."""
        return self.sequence.plan(self.cursor.present().pass_number).report()

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
            If the state belongs to another corpus or plan.
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

    def _check_faults(self, batch: SpeechBatch) -> None:
        part = self.sequence.planner.num_utterances / self.cursor.ranks()[1]
        self._fault_budget.spend(batch, num_utterances=part)


def _as_it_is(batch: Any) -> Any:
    return batch


def _check_options(
    batches_per_epoch: int | None,
    *,
    rank: int | None,
    world_size: int | None,
) -> None:
    faults = []
    if batches_per_epoch is not None and batches_per_epoch < 1:
        faults.append(f"batches_per_epoch is {batches_per_epoch}; expected >= 1 or null")
    if (rank is None) != (world_size is None) or (
        rank is not None and world_size is not None and not 0 <= rank < world_size
    ):
        faults.append(f"rank is {rank} of {world_size}; expected both, 0 <= rank < world_size")
    if faults:
        raise ValueError("loader: " + "; ".join(faults) + ".")
