"""Batch plans: exactness, bounds, order, filters."""

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prepare.plan import BatchPlan, Planner
from data_prepare.plan_options import PlanOptions
from tests.unit.data_prepare.corpora import RATE_HZ, fake_index, random_shards

seconds = st.floats(0.1, 10.0).map(lambda value: round(value, 2))
corpora = st.lists(st.lists(seconds, max_size=15), min_size=1, max_size=8).filter(any)
plan_options = st.builds(
    PlanOptions,
    max_batch_s=st.floats(10.0, 60.0),
    max_utterances=st.none() | st.integers(1, 6),
    multiple=st.integers(1, 4),
    shuffle=st.booleans(),
    seed=st.integers(0, 5),
    window_shards=st.integers(1, 9),
    jitter=st.sampled_from([0.0, 0.03, 0.5]),
    keep_batches=st.booleans(),
    group_batches=st.integers(1, 4),
    order=st.sampled_from(["descending", "ascending"]),
)


def make_plan(corpus: list[list[float]], *, pass_number: int = 0, **options: object) -> BatchPlan:
    planner = Planner(fake_index(corpus), PlanOptions(**{"max_batch_s": 3.0, **options}))
    return planner.plan(pass_number)


def batches(plan: BatchPlan) -> list[list[int]]:
    return [plan.order[a:b].tolist() for a, b in pairwise(plan.starts)]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(shards=corpora, options=plan_options, pass_number=st.integers(0, 3))
def test_plan_random_corpus_bounded_batches_hold_each_utterance_once(shards, options, pass_number):
    index = fake_index(shards)
    plan = Planner(index, options).plan(pass_number)
    lengths = index.utterances["num_samples"]
    assert sorted(plan.order.tolist()) == list(range(len(lengths)))
    for batch in batches(plan):
        assert 1 <= len(batch) <= (options.max_utterances or len(batch))
        padded_s = len(batch) * int(lengths[batch].max()) / RATE_HZ
        assert padded_s <= options.max_batch_s + 1 / RATE_HZ


def test_plan_same_inputs_same_order():
    shards = random_shards(80, num_shards=5)
    assert batches(make_plan(shards, shuffle=True)) == batches(make_plan(shards, shuffle=True))


@pytest.mark.parametrize("change", [{"seed": 1}, {"pass_number": 1}])
def test_plan_other_seed_or_pass_other_batches(change):
    shards = random_shards(80, num_shards=5)
    first, second = make_plan(shards, shuffle=True), make_plan(shards, shuffle=True, **change)
    assert {frozenset(b) for b in batches(first)} != {frozenset(b) for b in batches(second)}
    assert first.checksum != second.checksum


def test_plan_other_index_checksum_other_order():
    shards = random_shards(80, num_shards=5)
    options = PlanOptions(max_batch_s=3.0, shuffle=True)
    plans = [Planner(fake_index(shards, checksum=c), options).plan() for c in ("abc", "xyz")]
    assert plans[0].order.tolist() != plans[1].order.tolist()


def test_plan_windows_each_batch_reads_few_shards():
    index = fake_index(random_shards(200, num_shards=10))
    options = PlanOptions(max_batch_s=3.0, shuffle=True, window_shards=2)
    plan = Planner(index, options).plan()
    shards = index.utterances["shard"]
    sets = [set(shards[batch].tolist()) for batch in batches(plan)]
    assert max(map(len, sets)) == 2
    # A window's shards are read together, then never again.
    seen = [tuple(sorted(s)) for s in sets if len(s) == 2]
    assert len(set(seen)) == 5


def test_plan_random_lengths_little_padding():
    report = make_plan(random_shards(2000, num_shards=4), shuffle=True, jitter=0.0).report()
    assert report["padding_share"] < 0.02
    assert report["mean_batch_s"] > 0.9 * 3.0


def test_plan_groups_neighbouring_batches_have_like_lengths():
    plan = make_plan(random_shards(2000, num_shards=1), shuffle=True, group_batches=4)
    longest = plan.longest_samples[: plan.num_batches // 4 * 4].reshape(-1, 4)
    spread = (longest.max(1) - longest.min(1)).mean() / longest.mean()
    assert spread < 0.1
    assert np.std(longest.mean(1)) > 0.1 * longest.mean()


def test_plan_of_groups_gives_each_round_of_ranks_neighbours():
    options = {"max_utterances": 3, "max_batch_s": 60.0, "jitter": 0.0, "window_shards": 9}
    corpus = random_shards(100, num_shards=4)
    plan = make_plan(corpus, shuffle=True, group_batches=4, **options)
    assert plan.num_batches == 34
    lengths = fake_index(corpus).utterances["num_samples"]
    rounds = [tuple(part) for part in lengths[plan.order][:96].reshape(-1, 4 * 3).tolist()]
    by_length = np.sort(lengths)[::-1][:96].reshape(-1, 4 * 3).tolist()
    assert sorted(rounds, reverse=True) == [tuple(part) for part in by_length]
    assert rounds != sorted(rounds, reverse=True)


@pytest.mark.parametrize(("order", "step"), [("descending", -1), ("ascending", 1)])
def test_plan_unshuffled_sorted_by_length(order, step):
    shards = random_shards(50, num_shards=3)
    plan = make_plan(shards, order=order)
    lengths = fake_index(shards).utterances["num_samples"][plan.order].astype(int)
    assert (np.diff(lengths) * step >= 0).all()
    assert make_plan(shards, order=order, pass_number=5).checksum == plan.checksum


def test_plan_batches_hold_multiples_but_for_small_ones():
    corpus = random_shards(300, num_shards=4, seed=3)
    plan = make_plan(corpus, max_batch_s=60.0, multiple=8, keep_batches=True, shuffle=True)
    sizes = [len(batch) for batch in batches(plan)]
    assert any(size > 8 for size in sizes)
    assert all(size % 8 == 0 or size < 8 for size in sizes)
    assert sum(sizes) == sum(map(len, corpus))


def test_plan_kept_batches_change_their_order_only():
    corpus = random_shards(300, num_shards=4, seed=3)
    options = {"max_batch_s": 20.0, "keep_batches": True, "shuffle": True}
    first, second = (batches(make_plan(corpus, pass_number=n, **options)) for n in (0, 1))
    assert first != second
    assert sorted(first) == sorted(second)
    longest = [max(batch) for batch in first]
    assert longest != sorted(longest)


def test_plan_filters_left_out_and_counted():
    plan = make_plan([[0.05, 1.0, 2.0], [2.5, 0.0]], min_utterance_s=0.1, max_utterance_s=2.2)
    assert sorted(plan.order.tolist()) == [1, 2]
    assert plan.report()["left_out"] == {"too_short": 2, "too_long": 1}


def test_plan_utterance_longer_than_batch_error_names_it():
    with pytest.raises(ValueError, match=r"utterance 2 \(in shard-000001.tar\) lasts 4.00 s"):
        make_plan([[1.0, 2.0], [4.0, 5.0]])


def test_plan_utterance_longer_than_batch_skipped_and_counted():
    plan = make_plan([[1.0, 2.0], [4.0, 5.0]], too_long="skip")
    assert sorted(plan.order.tolist()) == [0, 1]
    assert plan.left_out == {"too_short": 0, "too_long": 2}


def test_plan_nothing_left_error():
    with pytest.raises(ValueError, match="no utterance is left.*'too_short': 2"):
        make_plan([[0.5, 0.5]], min_utterance_s=1.0)


def test_plan_shards_range_is_prefix_of_corpus():
    shards = random_shards(60, num_shards=6)
    plan = make_plan(shards, shards=(1, 3), shuffle=True)
    first = len(shards[0])
    count = len(shards[1]) + len(shards[2])
    assert sorted(plan.order.tolist()) == list(range(first, first + count))


def test_plan_bad_options_all_named_at_once():
    with pytest.raises(ValueError) as caught:
        make_plan([[1.0]], max_batch_s=-1, window_shards=0, jitter=1.0, shards=(0, 2), order="up")
    for name in ("max_batch_s", "window_shards", "jitter", "shards", "order"):
        assert name in str(caught.value)


def test_plan_report_adds_up():
    shards = [[1.0, 1.0, 0.5], [2.0]]
    report = make_plan(shards).report()
    assert report["audio_s"] == pytest.approx(4.5)
    assert report["num_utterances"] == 4
    assert report["num_batches"] == 2
    assert report["padding_share"] == pytest.approx(1 - 4.5 / 5.0)
    assert json.loads(json.dumps(report)) == report
