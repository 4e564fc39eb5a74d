"""Dealing batches to ranks: equal, exact, elastic."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prepare.deal import deal

batch_sizes = st.lists(st.integers(1, 6), min_size=1, max_size=20)


def plan_of(sizes: list[int]) -> Any:
    return SimpleNamespace(starts=np.concatenate([[0], np.cumsum(sizes)]))


def consume(sizes: list[int], world_size: int, first: int = 0, rounds: int | None = None) -> Any:
    """Deal, run some rounds; returns utterances by rank, number of padding batches by rank."""
    dealt = deal(plan_of(sizes), world_size=world_size, first=first)
    had: list[list[int]] = [[] for _ in range(world_size)]
    padding = [0] * world_size
    rounds = dealt.num_rounds if rounds is None else min(rounds, dealt.num_rounds)
    for number in range(rounds):
        for rank in range(world_size):
            part, is_padding = dealt.batch(number, rank)
            assert part.start < part.stop
            padding[rank] += is_padding
            had[rank] += [] if is_padding else list(range(part.start, part.stop))
    return had, padding, dealt.done_after(rounds)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(sizes=batch_sizes, world_size=st.integers(1, 9))
def test_deal_any_ranks_each_utterance_once(sizes, world_size):
    had, padding, done = consume(sizes, world_size)
    assert sorted(sum(had, [])) == list(range(sum(sizes)))
    assert max(padding) <= 1
    assert done == sum(sizes)
    # Padding only where nothing is left to split, and never a whole round of it.
    rounds = -(-len(sizes) // world_size)
    assert sum(padding) == max(0, rounds * world_size - sum(sizes))
    assert sum(padding) < world_size


@settings(max_examples=300, deadline=None, derandomize=True)
@given(sizes=batch_sizes, ranks=st.lists(st.integers(1, 6), min_size=1, max_size=4), data=st.data())
def test_deal_ranks_change_any_time_each_utterance_once(sizes, ranks, data):
    used: list[int] = []
    done = 0
    for world_size in ranks:
        had, _, done = consume(sizes, world_size, done, rounds=data.draw(st.integers(0, 5)))
        used += sum(had, [])
        assert sorted(used) == list(range(done))
    had, _, done = consume(sizes, 1, done)
    assert sorted(used + sum(had, [])) == list(range(sum(sizes)))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(sizes=batch_sizes, world_size=st.integers(1, 6))
def test_deal_rounds_done_inverts_done_after(sizes, world_size):
    dealt = deal(plan_of(sizes), world_size=world_size)
    rounds = range(dealt.num_rounds + 1)
    assert [dealt.rounds_done(dealt.done_after(k)) for k in rounds] == list(rounds)


def test_deal_last_round_splits_its_largest_batch():
    had, padding, _ = consume([3, 3, 3, 1, 8], 3)
    assert had == [[0, 1, 2, 9], [3, 4, 5, 10, 11, 12, 13], [6, 7, 8, 14, 15, 16, 17]]
    assert padding == [0, 0, 0]


def test_deal_last_round_too_small_borrows_from_the_one_before():
    _, padding, _ = consume([4, 4, 1], 2)
    assert padding == [0, 0]
    dealt = deal(plan_of([4, 4, 1]), world_size=2)
    assert dealt.num_rounds == 2


def test_deal_fewer_utterances_than_ranks_padding_repeats():
    dealt = deal(plan_of([2]), world_size=4)
    parts = [dealt.batch(0, rank) for rank in range(4)]
    assert [is_padding for _, is_padding in parts] == [False, False, True, True]
    assert parts[3][0] == slice(1, 2)


def test_deal_position_of_other_plan_error():
    with pytest.raises(ValueError, match="no round of 2 batches ends at utterance 3"):
        deal(plan_of([2, 2, 2, 2]), world_size=2).rounds_done(3)


def test_deal_everything_used_no_round():
    assert deal(plan_of([2, 3]), world_size=3, first=5).num_rounds == 0
