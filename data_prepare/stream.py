"""Stream a prepared split as batches: exactly once, shuffled, equal on all ranks, resumable.

The batches of a pass are planned from the index (`data_prepare.plan`), dealt to ranks
(`data_prepare.deal`) and asked for one by one; a loader worker reads, decodes and collates whole
batches. Workers take them round robin and the loader keeps their order, so the number of workers
changes nothing but speed. Nothing in them is random.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from data_prepare.accounting import FaultBudget, LoaderStatistics
from data_prepare.batch import BatchReader, BatchRequest, SpeechBatch, Transform
from data_prepare.batch_loader import BatchLoader
from data_prepare.cursor import Cursor
from data_prepare.index import ShardIndex
from data_prepare.plan import Planner
from data_prepare.plan_options import PlanOptions
from data_prepare.read_ahead import READ_AHEAD_BYTES
from data_prepare.reading import ShardReader
from data_prepare.sequence import BatchSequence, Position
from data_prepare.storage import RemoteOptions, Storage


class ShardLoader(BatchLoader):
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
    multiple : int
        Of which the utterances of a batch are a multiple, where it holds as many.
    shuffle : bool
        A new order in each pass, or one sorted by length.
    seed : int
        Of the shuffled order.
    window_shards : int
        Shards that are shuffled together.
    jitter : float
        Random share added to lengths before sorting.
    keep_batches : bool
        Batches are formed once, passes change their order only.
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
    read_ahead_bytes : int
        What each loader worker reads ahead, in a thread, of the batches that it will be asked
        for: in offset order, neighbours together. 0 for nothing. Batches stay the same.
    check : Literal["size", "full"]
        "size" or "full": how the index is compared with its files, see `ShardIndex.load`.
    remote : RemoteOptions | None
        Cache, retries and access for an address; see `data_prepare.storage.RemoteOptions`.

    Attributes
    ----------
    statistics : LoaderStatistics
        Of the running or last epoch.
    rate_hz : int
        Of the recordings.

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
        multiple: int = 1,
        shuffle: bool = False,
        seed: int = 0,
        window_shards: int = 8,
        jitter: float = 0.03,
        keep_batches: bool = False,
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
        read_ahead_bytes: int = READ_AHEAD_BYTES,
        check: Literal["size", "full"] = "size",
        remote: RemoteOptions | None = None,
    ):
        check_options(batches_per_epoch, rank=rank, world_size=world_size)
        self.index = ShardIndex.load(folder, check=check, remote=remote, tolerant=max_bad_share > 0)
        self.index.storage.check_room(window_shards if shuffle else None)
        options = PlanOptions(
            max_batch_s=max_batch_s,
            max_utterances=max_utterances,
            multiple=multiple,
            shuffle=shuffle,
            seed=seed,
            window_shards=window_shards,
            jitter=jitter,
            keep_batches=keep_batches,
            group_batches=group_batches,
            order=order,
            min_utterance_s=min_utterance_s,
            max_utterance_s=max_utterance_s,
            too_long=too_long,
            shards=(shards[0], shards[1]) if shards is not None else None,
        )
        sequence = BatchSequence(Planner(self.index, options), batches_per_epoch=batches_per_epoch)
        self._begin(
            sequence,
            transforms,
            where=str(folder),
            max_bad_share=max_bad_share,
            ranks=(rank, world_size),
            num_workers=num_workers,
            prefetch_factor=prefetch_factor,
            persistent_workers=persistent_workers,
            multiprocessing_context=multiprocessing_context,
            pin_memory=pin_memory,
            read_ahead_bytes=read_ahead_bytes,
        )

    def _begin(
        self,
        sequence: BatchSequence,
        transforms: Transform | Sequence[Transform],
        *,
        where: str,
        max_bad_share: float,
        ranks: tuple[int | None, int | None],
        **workers: Any,
    ) -> None:
        """Load `self.index`, called `where`, by a sequence; `ranks`: which part of how many."""
        self.sequence, self.rate_hz = sequence, self.index.rate_hz
        self.fault_budget = FaultBudget(max_bad_share, where=where, find_key=self.index.find_key)
        BatchLoader.__init__(
            self,
            BatchReader(
                ShardReader(self.index),
                transforms=[transforms] if callable(transforms) else transforms,
            ),
            Cursor([self.index], sequence, rank=ranks[0], world_size=ranks[1]),
            **workers,
        )
        self.begin_statistics()

    def begin_statistics(self) -> None:
        """Count anew: an epoch begins, or goes on after a resume."""
        self.statistics = LoaderStatistics()

    def note(self, batch: SpeechBatch, *, wait_s: float) -> None:
        """Count a batch; an error if there are too many bad utterances."""
        self.statistics.add(batch, wait_s=wait_s, rate_hz=self.rate_hz)
        self.check_faults(batch)

    def check_faults(self, batch: SpeechBatch) -> None:
        """Count and log what is bad in a batch; an error if there is too much of it."""
        self.fault_budget.spend(batch, num_utterances=self.rank_utterances)

    @property
    def rank_utterances(self) -> float:
        """Size of each rank's part of a pass."""
        return self.sequence.planner.num_utterances / self.cursor.ranks()[1]

    def part_of(self, batch: Any) -> "ShardLoader":
        """Return the loader of the corpus that a batch is of: this one."""
        del batch
        return self

    def fetch(self, number: int, *, pass_number: int = 0) -> SpeechBatch:
        """Return batch `number` of a pass, read here and now; the position does not change.

        For trainers that hand out batch numbers themselves; `num_batches` says how many there are.
        """
        started_s = time.perf_counter()
        batch = self.read(number, pass_number=pass_number)
        self.note(batch, wait_s=time.perf_counter() - started_s)
        return batch

    def read(self, number: int, *, pass_number: int = 0) -> SpeechBatch:
        """Return the batch of `fetch`, but neither count it nor refuse its faults."""
        plan = self.sequence.plan(pass_number)
        rows = plan.order[plan.starts[number] : plan.starts[number + 1]]
        reader: Any = self.dataset
        position = Position(pass_number=pass_number)
        request = BatchRequest(self.index.utterances[rows], position=position)
        batch: SpeechBatch = reader[request].unpack()
        return batch

    def num_batches(self, pass_number: int = 0) -> int:
        """Return the batches of a pass, of all ranks together."""
        return self.sequence.plan(pass_number).num_batches

    def report(self) -> dict[str, Any]:
        """Return the figures of the present pass's plan, see `BatchPlan.report`."""
        return self.sequence.plan(self.cursor.present().pass_number).report()


def check_options(
    batches_per_epoch: int | None,
    *,
    rank: int | None,
    world_size: int | None,
) -> None:
    """Raise a ValueError if the length of an epoch or the ranks of a loader are out of range."""
    faults = []
    if batches_per_epoch is not None and batches_per_epoch < 1:
        faults.append(f"batches_per_epoch is {batches_per_epoch}; expected >= 1 or null")
    if (rank is None) != (world_size is None) or (
        rank is not None and world_size is not None and not 0 <= rank < world_size
    ):
        faults.append(f"rank is {rank} of {world_size}; expected both, 0 <= rank < world_size")
    if faults:
        raise ValueError("loader: " + "; ".join(faults) + ".")
