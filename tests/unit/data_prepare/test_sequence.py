"""Passes, nominal epochs and positions."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prepare.plan import Planner
from data_prepare.plan_options import PlanOptions
from data_prepare.sequence import BatchSequence, Position, Step
from tests.unit.data_prepare.corpora import fake_index, random_shards


def make_sequence(num_utterances: int = 40, *, nominal: int | None = None, **options: object):
    index = fake_index(random_shards(num_utterances, num_shards=3))
    options = {"max_batch_s": 2.0, "shuffle": True, **options}
    return BatchSequence(Planner(index, PlanOptions(**options)), batches_per_epoch=nominal)


def steps(sequence: BatchSequence, position: Position, world_size: int) -> list[list[Step]]:
    """What each rank gets for the rest of the epoch."""
    position = sequence.for_ranks(position, world_size)
    return [list(sequence.walk(position, rank=rank)) for rank in range(world_size)]


def rows(of_ranks: list[list[Step]]) -> list[int]:
    return [r for rank in of_ranks for step in rank if not step.is_padding for r in step.rows]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    num_utterances=st.integers(1, 60),
    ranks=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    data=st.data(),
)
def test_sequence_stops_and_other_ranks_each_utterance_once(num_utterances, ranks, data):
    sequence = make_sequence(num_utterances)
    position, used = Position(), []
    for world_size in ranks:
        of_ranks = steps(sequence, position, world_size)
        stop = data.draw(st.integers(0, len(of_ranks[0])))
        used += rows([rank[:stop] for rank in of_ranks])
        if stop:
            assert len({rank[stop - 1].position for rank in of_ranks}) == 1
            position = sequence.position(
                json.loads(json.dumps(sequence.state(of_ranks[0][stop - 1].position)))
            )
    used += rows(steps(sequence, position, 1))
    assert sorted(used) == list(range(num_utterances))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(world_size=st.integers(1, 7), num_utterances=st.integers(1, 40), data=st.data())
def test_sequence_resumed_with_same_ranks_equals_no_stop(world_size, num_utterances, data):
    sequence = make_sequence(num_utterances, max_batch_s=1.5)
    whole = steps(sequence, Position(), world_size)
    stop = data.draw(st.integers(1, len(whole[0])))
    rest = steps(sequence, whole[0][stop - 1].position, world_size)
    for rank_whole, rank_rest in zip(whole, rest, strict=True):
        assert [list(s.rows) for s in rank_whole[stop:]] == [list(s.rows) for s in rank_rest]
        assert [s.position for s in rank_whole[stop:]] == [s.position for s in rank_rest]


def test_sequence_4_then_3_then_1_ranks_each_utterance_once():
    sequence = make_sequence(100)
    used, position = [], Position()
    for world_size, stop in ((4, 3), (3, 2), (1, None)):
        of_ranks = steps(sequence, position, world_size)
        used += rows([rank[:stop] for rank in of_ranks])
        position = of_ranks[0][:stop][-1].position
    assert sorted(used) == list(range(100))


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_sequence_nominal_epochs_are_cuts_of_exact_passes(world_size):
    sequence = make_sequence(50, nominal=4)
    position, used = Position(world_size=world_size), []
    while position.pass_number < 2:
        of_ranks = steps(sequence, position, world_size)
        assert [len(rank) for rank in of_ranks] == [4] * world_size
        ends = [step.ends_epoch for step in of_ranks[0]]
        assert ends == [False, False, False, True]
        used += rows(list(zip(*of_ranks, strict=True)))
        position = sequence.next_epoch(of_ranks[0][-1].position)
    assert sorted(used[:50]) == list(range(50))
    assert sorted(used[50:100]) == list(range(50))
    assert used[:50] != used[50:100]


def test_sequence_nominal_epoch_resumed_has_the_rest():
    sequence = make_sequence(50, nominal=5)
    whole = steps(sequence, Position(), 1)[0]
    position = sequence.position(sequence.state(whole[2].position))
    rest = steps(sequence, position, 1)[0]
    assert [list(s.rows) for s in rest] == [list(s.rows) for s in whole[3:]]
    assert sequence.epoch_length(position) == 5


def test_sequence_pass_complete_epoch_goes_on_with_nothing_and_next_is_new():
    sequence = make_sequence(20)
    last = steps(sequence, Position(), 2)[0][-1]
    assert last.ends_epoch
    assert steps(sequence, last.position, 2) == [[], []]
    assert sequence.epoch_length(last.position) == last.position.epoch_batches
    assert sequence.next_epoch(last.position) == Position(1, world_size=2)


def test_sequence_epoch_length_counts_batches_before_other_ranks():
    sequence = make_sequence(100)
    position = steps(sequence, Position(), 4)[0][1].position
    length = sequence.epoch_length(sequence.for_ranks(position, 3))
    assert length == 2 + len(steps(sequence, position, 3)[0])


def test_sequence_state_of_other_corpus_or_options_error_names_all():
    state = make_sequence(40).state(Position())
    other = make_sequence(41, max_batch_s=3.0, seed=7)
    other.planner.index_checksum = "f" * 64
    with pytest.raises(ValueError) as caught:
        other.position(state)
    for text in ("ffffffffffff", "max_batch_s is 3.0, was 2.0", "seed is 7, was 0"):
        assert text in str(caught.value)


def test_sequence_state_of_other_plan_with_same_options_error():
    sequence = make_sequence(40)
    state = {**sequence.state(Position()), "plan": 1}
    with pytest.raises(ValueError, match="plan computed here differs"):
        sequence.position(state)
    with pytest.raises(ValueError, match="format is 'x'"):
        sequence.position({**state, "format": "x"})


def test_sequence_unshuffled_passes_share_one_plan():
    sequence = make_sequence(30, shuffle=False)
    assert sequence.plan(0) is sequence.plan(7)
    position = replace(Position(), pass_number=7)
    assert rows(steps(sequence, position, 1)) == list(sequence.plan(0).order)
