"""Global batches: of one size, each utterance at most once, the same on all ranks."""

import json
from pathlib import Path

import numpy as np
import pytest
from speechbrain.utils.checkpoints import Checkpointer

from data_prepare.draws import keyed_percents, keyed_uniform, text_keys
from data_prepare.global_batches import GlobalBatchLoader
from data_prepare.global_plan import GlobalBatchOptions, GlobalBatchPlanner
from data_prepare.index import ShardIndex
from tests.unit.data_prepare.corpora import fake_index, random_shards, write_split

G, M = 16, 4
NUM_UTTERANCES = 103


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shards = random_shards(NUM_UTTERANCES, num_shards=3)
    return write_split(tmp_path_factory.mktemp("corpus") / "train", shards)


def make_loader(split: Path, **options) -> GlobalBatchLoader:
    return GlobalBatchLoader(split, **{"global_batch": G, "micro_batch": M, **options})


def plan_of(index, pass_number=0, **options):
    options = GlobalBatchOptions(**{"global_batch": G, "micro_batch": M, **options})
    return GlobalBatchPlanner(index, options).plan(pass_number)


@pytest.fixture(scope="module")
def index():
    return fake_index(random_shards(NUM_UTTERANCES, num_shards=3))


def groups(plan):
    """Return the set of rows of each global batch."""
    return [frozenset(part.tolist()) for part in plan.order.reshape(-1, G)]


@pytest.mark.parametrize("num_buckets", [1, 6])
def test_pass_has_whole_batches_and_no_utterance_twice(index, num_buckets):
    plan = plan_of(index, num_buckets=num_buckets)
    assert plan.num_utterances == 96
    assert len(set(plan.order.tolist())) == 96
    assert set(np.diff(plan.starts)) == {M}
    assert plan.report()["left_out"] == {"too_short": 0, "too_long": 0, "incomplete_batch": 7}


def test_passes_differ_and_drop_others(index):
    plans = [plan_of(index, number) for number in range(30)]
    assert groups(plans[0]) != groups(plans[1])
    assert set().union(*(plan.order.tolist() for plan in plans)) == set(range(NUM_UTTERANCES))


def test_sharing_by_length_changes_no_global_batch(index):
    plain, shared = (plan_of(index, by_length=flag, at_once=2) for flag in (False, True))
    assert groups(plain) == groups(shared)
    assert plain.order.tolist() != shared.order.tolist()


def test_micro_batches_at_once_have_equal_shares_of_long_and_short(index):
    lengths, spreads = index.utterances["num_samples"], []
    for at_once in (4, 1):
        micro = lengths[plan_of(index, at_once=at_once).order].reshape(-1, G // M, M)
        assert (np.diff(micro.astype(np.int64), axis=2) <= 0).all()  # longest first
        spreads.append(np.ptp(micro.mean(2), axis=1))
    assert (spreads[0] < 0.5 * spreads[1]).all()
    assert (np.diff(micro.mean(2), axis=1) <= 0).all()  # one after the other: from long to short


def test_lengths_are_taken_after_the_speed(split):
    index = ShardIndex.load(split)
    plan = plan_of(index, pass_number=2, at_once=4, speed=(0.5, 2.0), speed_seed=3)
    keys = text_keys(row["id"] for row in index.texts())
    percents = keyed_percents(keys, bounds=(0.5, 2.0), seed=3, pass_number=2)
    lengths = (index.utterances["num_samples"] * percents)[plan.order].reshape(-1, M)
    assert (np.diff(lengths, axis=1) <= 0).all()


def test_filters_leave_out_and_count(index):
    plan = plan_of(index, min_utterance_s=0.2, max_utterance_s=0.5)
    seconds = index.utterances["num_samples"][plan.order] / 16000
    assert seconds.min() >= 0.2 and seconds.max() <= 0.5
    assert plan.left_out["too_short"] > 0 and plan.left_out["too_long"] > 0


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_ranks_share_each_global_batch(split, world_size):
    loaders = [
        make_loader(split, rank=rank, world_size=world_size, at_once=4)
        for rank in range(world_size)
    ]
    accumulation = G // (M * world_size)
    assert {loader.accumulation for loader in loaders} == {accumulation}
    assert {loader.updates_per_epoch for loader in loaders} == {6}
    batches = [[batch.id for batch in loader] for loader in loaders]
    assert {len(part) for part in batches} == {6 * accumulation}
    found = []
    for update in range(6):
        rows = slice(update * accumulation, (update + 1) * accumulation)
        found.append(sorted(sum((ids for part in batches for ids in part[rows]), [])))
    alone = make_loader(split, rank=0, world_size=1, at_once=4)
    ids = [batch.id for batch in alone]
    assert found == [sorted(sum(ids[4 * u : 4 * u + 4], [])) for u in range(6)]


def test_resume_in_mid_epoch_goes_on(split, tmp_path):
    whole = [batch.id for loader in [make_loader(split)] for _ in range(2) for batch in loader]
    loader = make_loader(split)
    batches = iter(loader)
    before = [next(batches).id for _ in range(5)]
    Checkpointer(tmp_path, {"loader": loader}).save_checkpoint(end_of_epoch=False)
    resumed = make_loader(split)
    Checkpointer(tmp_path, {"loader": resumed}).recover_if_possible()
    assert before + [batch.id for _ in range(2) for batch in resumed] == whole


def ranks_of(split, world_size, **options):
    return [make_loader(split, rank=r, world_size=world_size, **options) for r in range(world_size)]


def take(loaders, num_updates):
    """Return the utterances of each of so many updates of all ranks, as sets."""
    walks = [iter(loader) for loader in loaders]
    rounds = num_updates * loaders[0].accumulation
    ids = [[next(walk).id for _ in range(rounds)] for walk in walks]
    names = [sum((ids[rank][r] for rank in range(len(ids))), []) for r in range(rounds)]
    size = loaders[0].accumulation
    updates = [sum(names[u * size : (u + 1) * size], []) for u in range(num_updates)]
    assert {len(update) for update in updates} == {G}
    return [frozenset(update) for update in updates]


@pytest.mark.parametrize("micro_batch", [M, None])
@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_resume_on_other_ranks_between_updates_gives_the_rest(split, micro_batch, world_size):
    whole = take(ranks_of(split, 1), 6)
    first = ranks_of(split, 2, micro_batch=micro_batch)
    done = take(first, 2)
    state = json.loads(json.dumps(first[0].state_dict()))
    other = ranks_of(split, world_size, micro_batch=micro_batch)
    for loader in other:
        loader.load_state_dict(state)
    assert done + take(other, 3) == whole[:5]
    again = ranks_of(split, 4, micro_batch=2)  # once more, and with other micro-batches
    for loader in again:
        loader.load_state_dict(other[0].state_dict())
    assert take(again, 1) == whole[5:]


def test_resume_on_other_ranks_within_an_update_is_refused(split):
    first = ranks_of(split, 2)
    for loader in first:
        next(iter(loader))
    state = first[0].state_dict()
    with pytest.raises(ValueError, match=r"at_once is 4, was 2; .*within an update \(8 utter"):
        ranks_of(split, 4)[0].load_state_dict(state)
    same = make_loader(split, rank=0, world_size=1, at_once=2)
    same.load_state_dict(state)
    with pytest.raises(ValueError, match=r"within an update .* of 2 ranks, now there are 1"):
        next(iter(same))
    with pytest.raises(ValueError, match="at_once is 4, was 2; seed is 3, was 0; expected"):
        ranks_of(split, 4, seed=3)[0].load_state_dict(state)


def test_batches_know_their_pass(split):
    loader = make_loader(split)
    assert [{batch.position.pass_number for batch in loader} for _ in range(2)] == [{0}, {1}]
    assert loader.fetch(3, pass_number=1).position.pass_number == 1


def test_faults_of_the_options_are_told():
    index = fake_index([[0.2] * 5])
    with pytest.raises(ValueError, match="global_batch is 16, micro_batch 5; .*at_once is 2"):
        plan_of(index, micro_batch=5, at_once=2)
    with pytest.raises(ValueError, match="5 utterances are left .* at least global_batch = 16"):
        plan_of(index)


def test_micro_batches_that_do_not_go_among_the_ranks_are_refused(split):
    with pytest.raises(ValueError, match="no multiple of micro_batch 4 x 3 ranks"):
        make_loader(split, rank=0, world_size=3)


def test_draws_are_uniform_and_keyed():
    keys = text_keys(str(number) for number in range(20000))
    draws = keyed_uniform(keys, seed=1, pass_number=0)
    counts, _ = np.histogram(draws, bins=10, range=(0, 1))
    assert abs(counts / 2000 - 1).max() < 0.08
    assert np.array_equal(draws[7:9], keyed_uniform(keys[7:9], seed=1, pass_number=0))
    for other in (
        keyed_uniform(keys, seed=2, pass_number=0),
        keyed_uniform(keys, seed=1, pass_number=1),
    ):
        assert abs(np.corrcoef(draws, other)[0, 1]) < 0.03


def test_draws_are_the_same_on_every_machine():
    assert text_keys(["a", "utterance"]).tolist() == [3405396810240292928, 10280606071144439357]
