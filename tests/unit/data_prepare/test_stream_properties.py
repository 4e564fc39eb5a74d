"""The promise as a whole, over random corpora and topologies: each utterance exactly once.

What plan, deal and sequence promise each for itself stands in their own tests.
"""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from data_prepare.plan import Planner
from data_prepare.plan_options import PlanOptions
from data_prepare.sequence import BatchSequence, Position, Step
from data_prepare.storage import LocalStorage, Read
from data_prepare.stream import ShardLoader
from tests.unit.data_prepare.corpora import RATE_HZ, fake_index, write_split

MAX_BATCH_S = 12.0
WASTE = 0.05

seconds = st.floats(0.0, 10.0).map(lambda value: round(value, 2))
corpora = st.lists(st.lists(seconds, max_size=12), min_size=1, max_size=8).filter(
    lambda shards: any(0 < s <= 5 for shard in shards for s in shard)
)
plan_options = st.fixed_dictionaries(
    {
        "shuffle": st.booleans(),
        "max_utterances": st.none() | st.integers(1, 5),
        "window_shards": st.integers(1, 9),
        "jitter": st.sampled_from([0.0, 0.03, 0.6]),
        "group_batches": st.integers(1, 5),
        "order": st.sampled_from(["descending", "ascending"]),
        "max_utterance_s": st.none() | st.just(5.0),
        "seed": st.integers(0, 3),
    }
)
nominal = st.none() | st.integers(1, 7)
common = settings(max_examples=120, deadline=None, derandomize=True)


class Run:
    """Simulates the ranks of a run over a corpus without audio, and remembers what they had."""

    def __init__(self, shards: list[list[float]], options: dict[str, Any], epoch: int | None):
        self.index = fake_index(shards)
        self.lengths = self.index.utterances["num_samples"]
        planner = Planner(self.index, PlanOptions(max_batch_s=MAX_BATCH_S, **options))
        self.sequence = BatchSequence(planner, batches_per_epoch=epoch)
        self.kept = sorted(self.sequence.plan(0).order.tolist())
        self.position = Position()
        self.had: list[int] = []
        self.padding: Counter[tuple[int, int, int]] = Counter()

    def go(self, world_size: int, *, stop: int | None = None) -> int:
        """Run the (rest of the) epoch, or `stop` steps of it; returns the steps of each rank."""
        self.position = self.sequence.for_ranks(self.position, world_size)
        ranks = [self.sequence.walk(self.position, rank=rank) for rank in range(world_size)]
        rounds = list(zip(*map(list, ranks), strict=True))[:stop]
        for steps in rounds:
            self._take(steps)
        return len(rounds)

    def _take(self, steps: Sequence[Step]) -> None:
        assert len({step.position for step in steps}) == 1
        self.position = position = steps[0].position
        for rank, step in enumerate(steps):
            assert len(step.rows) >= 1
            padded_s = len(step.rows) * int(self.lengths[step.rows].max()) / RATE_HZ
            assert padded_s <= MAX_BATCH_S + 1 / RATE_HZ
            if step.is_padding:
                self.padding[position.pass_number, position.dealt_from, rank] += 1
            else:
                self.had += step.rows.tolist()

    def check(self) -> None:
        """Each complete pass is exact, the last is a beginning of its plan; little padding."""
        size = len(self.kept)
        passes = [self.had[first : first + size] for first in range(0, len(self.had), size)]
        for number, rows in enumerate(passes):
            assert rows == self.sequence.plan(number).order.tolist()[: len(rows)]
            assert len(rows) < size or sorted(rows) == self.kept
        assert max(self.padding.values(), default=0) <= 1


@common
@given(
    shards=corpora,
    options=plan_options,
    epoch=nominal,
    world_size=st.integers(1, 9),
    num_epochs=st.integers(1, 3),
)
@example([[0.3]], {"shuffle": True}, None, 9, 2)
@example([[], [0.3], []], {"shuffle": True}, 3, 4, 3)
def test_any_corpus_and_ranks_each_utterance_once_a_pass(
    shards, options, epoch, world_size, num_epochs
):
    run = Run(shards, options, epoch)
    for _ in range(num_epochs):
        length = run.sequence.epoch_length(run.sequence.for_ranks(run.position, world_size))
        assert run.go(world_size) == length == (epoch or length)
        assert run.position.epoch_batches == length
        run.position = run.sequence.next_epoch(run.position)
    run.check()
    if epoch is None:
        assert len(run.had) == num_epochs * len(run.kept)


@common
@given(
    shards=corpora,
    options=plan_options,
    epoch=nominal,
    stops=st.lists(st.tuples(st.integers(1, 9), st.integers(0, 6)), min_size=1, max_size=6),
)
@example([[0.5] * 12] * 3, {"shuffle": True}, None, [(4, 3), (3, 1), (1, 2)])
def test_stops_and_other_ranks_go_on_with_exactly_what_was_left(shards, options, epoch, stops):
    run = Run(shards, options, epoch)
    for world_size, stop in stops:
        taken = run.go(world_size, stop=stop)
        if taken < stop:
            run.position = run.sequence.next_epoch(run.position)
        state = json.loads(json.dumps(run.sequence.state(run.position)))
        run.position = run.sequence.position(state)
    while run.position.num_utterances < len(run.kept):
        if not run.go(1, stop=1):
            run.position = run.sequence.next_epoch(run.position)
    run.check()
    assert len(run.had) % len(run.kept) == 0


@common
@given(shards=corpora, options=plan_options, sizes=st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_order_does_not_depend_on_ranks(shards, options, sizes):
    orders = []
    for world_size in sizes:
        run = Run(shards, options, None)
        run.go(world_size)
        orders.append(run.had)
    assert orders[0] == orders[1]


class RecordingStorage(LocalStorage):
    """Remembers what was read."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        self.reads: list[Read] = []

    def read_many(self, reads: Sequence[Read]) -> list[bytes]:
        self.reads += reads
        return super().read_many(reads)


def bytes_within(reads: Sequence[Read], index: Any, rows: Any) -> int:
    """Bytes of some utterances that the reads touch."""
    total = 0
    for row in index.utterances[rows]:
        first, name = int(row["offset"]), index.shards[int(row["shard"])].name
        last = first + int(row["num_bytes"])
        spans = [(r.offset, r.offset + r.num_bytes) for r in reads if r.name == name]
        total += sum(max(0, min(last, b) - max(first, a)) for a, b in spans)
    return total


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("corpora")


def on_disk(folder: Path, shards: list[list[float]]) -> Path:
    """The split with these shards, written once."""
    path = folder / f"{abs(hash(str(shards))):x}"
    return path if path.exists() else write_split(path, shards)


short = st.floats(0.05, 0.4).map(lambda value: round(value, 2))
small_corpora = st.lists(st.lists(short, max_size=8), min_size=1, max_size=4).filter(any)
few = settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@few
@given(
    shards=small_corpora,
    world_sizes=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    data=st.data(),
)
@example([[0.2] * 8] * 4, (1, 1), None)
@example([[0.2] * 8] * 4, (3, 2), None)
def test_restart_reads_nothing_of_what_came_before(folder, shards, world_sizes, data):
    options = {"max_batch_s": 0.8, "shuffle": True, "window_shards": 2}
    split = on_disk(folder, shards)
    rank_loaders = [
        ShardLoader(split, rank=rank, world_size=world_sizes[0], **options)
        for rank in range(world_sizes[0])
    ]
    length = len(rank_loaders[0])
    stop = data.draw(st.integers(0, length)) if data is not None else length // 2
    before = [i for loader in rank_loaders for b in take(loader, stop) for i in b]
    state = json.loads(json.dumps(rank_loaders[0].state_dict()))
    after, num_read, num_old, num_needed = [], 0, 0, 0
    for rank in range(world_sizes[1]):
        storage = RecordingStorage(split)
        loader = ShardLoader(storage, rank=rank, world_size=world_sizes[1], **options)
        loader.load_state_dict(state)
        batches = list(loader)
        after += [i for b in batches if not b.is_padding for i in b.id]
        rows = [int(i.removeprefix("utt-")) for i in before]
        num_old += bytes_within(storage.reads, loader.index, rows)
        num_read += sum(read.num_bytes for read in storage.reads)
        mine = [int(i.removeprefix("utt-")) for b in batches for i in b.id]
        num_needed += int(loader.index.utterances["num_bytes"][mine].sum())
    assert sorted(before + after) == sorted(f"utt-{n}" for n in range(sum(map(len, shards))))
    # A few bytes between two utterances that are still wanted may be read along.
    assert num_old <= WASTE * num_needed
    assert num_needed <= num_read <= (1 + WASTE) * num_needed


def take(loader: ShardLoader, count: int) -> list[list[str]]:
    """Ids of the next batches, none of them padding."""
    batches = iter(loader)
    found = [next(batches) for _ in range(count)]
    return [batch.id for batch in found if not batch.is_padding]


@pytest.mark.multiproc
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@settings(few, max_examples=6)
@given(
    shards=small_corpora,
    world_size=st.integers(1, 3),
    num_workers=st.integers(1, 3),
    epoch=st.none() | st.integers(1, 5),
)
def test_real_loader_workers_change_nothing(folder, shards, world_size, num_workers, epoch):
    split = on_disk(folder, shards)
    options = {"max_batch_s": 0.8, "shuffle": True, "batches_per_epoch": epoch}
    used = []
    for rank in range(world_size):
        ranks = {"rank": rank, "world_size": world_size}
        alone = ShardLoader(split, **options, **ranks)
        loader = ShardLoader(split, **options, **ranks, num_workers=num_workers)
        for batch, expected in zip(loader, alone, strict=True):
            assert (batch.id, batch.position) == (expected.id, expected.position)
            np.testing.assert_array_equal(batch.wavs.data, expected.wavs.data)
            used += [] if batch.is_padding else batch.id
    if epoch is None:
        assert sorted(used) == sorted(f"utt-{n}" for n in range(sum(map(len, shards))))
