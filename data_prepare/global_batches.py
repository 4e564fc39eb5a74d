"""Loads a prepared split in global batches of one size; see `data_prepare.global_plan`."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from data_prepare.cursor import ranks_in_use
from data_prepare.global_plan import GlobalBatchOptions, GlobalBatchPlanner
from data_prepare.index import ShardIndex
from data_prepare.sequence import FORMAT, BatchSequence, Position
from data_prepare.storage import RemoteOptions, Storage
from data_prepare.stream import ShardLoader, check_options

SHARES = {"micro_batch", "at_once"}
"""Options that do not change which utterances an update has."""


class GlobalBatchSequence(BatchSequence):
    """Passes of global batches; how these are shared may change between two updates.

    Arguments
    ---------
    planner : GlobalBatchPlanner
        Of the corpus.
    """

    def __init__(self, planner: GlobalBatchPlanner) -> None:
        # A sequence asks its planner for a pass's plan and nothing else.
        super().__init__(planner)  # type: ignore[arg-type]
        self._planner = planner

    def for_ranks(self, position: Position, world_size: int) -> Position:
        """Return the position with what is left dealt anew, if the number of ranks differs."""
        if position.world_size != world_size and self._is_within_update(position.num_utterances):
            raise ValueError(
                f"position of a data loader: {self._place(position.num_utterances)} of "
                f"{position.world_size} ranks, now there are {world_size}; expected the same; go "
                "on with as many, or from a checkpoint between two updates."
            )
        return super().for_ranks(position, world_size)

    def position(self, state: dict[str, Any]) -> Position:
        """Return the position of a state; with other shares what is left is dealt anew."""
        position = super().position(state)
        if self.changed_options(state):
            return replace(position, dealt_from=position.num_utterances)
        return position

    def state_faults(self, state: dict[str, Any]) -> list[str]:
        """Return what in a state is not of this corpus and plan, one line a difference."""
        faults = super().state_faults(state)
        changed = {} if state.get("format") != FORMAT else self.changed_options(state)
        if not changed or not changed.keys() <= SHARES:
            return faults
        used = state["position"]["num_utterances"]
        if self._is_within_update(used):
            return [*faults, self._place(used)]
        former = self._planner.with_options(**{name: then for name, (_, then) in changed.items()})
        return GlobalBatchSequence(former).state_faults(state)

    def _is_within_update(self, num_utterances: int) -> bool:
        return num_utterances % self._planner.options.global_batch != 0

    def _place(self, num_utterances: int) -> str:
        size = self._planner.options.global_batch
        return f"the checkpoint lies within an update ({num_utterances} utterances, {size} each)"


class GlobalBatchLoader(ShardLoader):
    """Loads a split in global batches of one size; see `data_prepare.global_plan`.

    One iteration is one pass. Rank r of W takes micro-batches r, r + W, ... of each global batch;
    `accumulation` of them are its share of one update. Positions, resuming and workers are those of
    `data_prepare.stream.ShardLoader`, but the number of ranks, `micro_batch` and `at_once` may
    change only between two updates, where every checkpoint of a Brain lies.

    Arguments
    ---------
    folder : str | Path | Storage
        Folder of the split, its address or its storage.
    global_batch : int
        Utterances of an update.
    micro_batch : int | None
        Utterances of one forward pass of one rank; None: the rank's whole share.
    seed : int
        Of the order. More on this and what follows, up to `max_utterance_s`, in
        `GlobalBatchOptions`.
    num_buckets : int
        Parts of the corpus by length.
    by_length : bool
        Share utterances among micro-batches by length.
    at_once : int | None
        Micro-batches that run at the same time; None: one for each rank.
    speed : tuple[float, float] | None
        Bounds of the trainer's speed factors.
    speed_seed : int
        Of these.
    min_utterance_s : float
        Shorter utterances are left out and counted.
    max_utterance_s : float | None
        Longer utterances are left out and counted.
    transforms : Any
        Each takes and returns the dict of an utterance.
    max_bad_share : float
        Share of a pass that may be unreadable.
    rank : int | None
        Which part to load; by default from torch.distributed.
    world_size : int | None
        Number of parts.
    remote : RemoteOptions | None
        For an address.
    **workers : Any
        `num_workers`, `prefetch_factor`, `persistent_workers`, `multiprocessing_context`,
        `pin_memory`, `read_ahead_bytes` of `ShardLoader`.

    Raises
    ------
    ValueError
        If an option is out of range, or the micro-batches of an update do not go among the ranks.
    """

    def __init__(  # noqa: PLR0913 - the options of a YAML block, all by keyword
        self,
        folder: str | Path | Storage,
        *,
        global_batch: int,
        micro_batch: int | None = None,
        seed: int = 0,
        num_buckets: int = 1,
        by_length: bool = True,
        at_once: int | None = None,
        speed: tuple[float, float] | None = None,
        speed_seed: int = 0,
        min_utterance_s: float = 0.0,
        max_utterance_s: float | None = None,
        transforms: Any = (),
        max_bad_share: float = 0.0,
        rank: int | None = None,
        world_size: int | None = None,
        remote: RemoteOptions | None = None,
        **workers: Any,
    ):
        check_options(None, rank=rank, world_size=world_size)
        ranks = world_size or ranks_in_use()[1]
        micro_batch = micro_batch or max(1, global_batch // ranks)
        if global_batch % (micro_batch * ranks):
            raise ValueError(
                f"global batches: global_batch {global_batch} is no multiple of micro_batch "
                f"{micro_batch} x {ranks} ranks; expected one; change micro_batch."
            )
        self.accumulation = global_batch // (micro_batch * ranks)
        self.index = ShardIndex.load(folder, remote=remote, tolerant=max_bad_share > 0)
        self.index.storage.check_room(None)
        options = GlobalBatchOptions(
            global_batch=global_batch,
            micro_batch=micro_batch,
            seed=seed,
            num_buckets=num_buckets,
            by_length=by_length,
            at_once=at_once or ranks,
            speed=(speed[0], speed[1]) if speed is not None else None,
            speed_seed=speed_seed,
            min_utterance_s=min_utterance_s,
            max_utterance_s=max_utterance_s,
        )
        self.planner = GlobalBatchPlanner(self.index, options)
        self._begin(
            GlobalBatchSequence(self.planner),
            transforms,
            where=str(folder),
            max_bad_share=max_bad_share,
            ranks=(rank, world_size),
            **workers,
        )

    @property
    def updates_per_epoch(self) -> int:
        """Global batches of a pass."""
        return self.planner.num_updates
