"""Mixtures without audio: shares, passes, ranks, positions; over random corpora."""

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prepare.mixing_sequence import MixedPosition, Mixture
from data_prepare.mixing_shares import share_weights
from data_prepare.plan import Planner
from data_prepare.plan_options import PlanOptions
from data_prepare.sequence import BatchSequence, Step
from tests.unit.data_prepare.corpora import fake_index, random_shards

SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=4)


def make_mixture(
    sizes: list[int],
    *,
    weights: list[float] | None = None,
    temperature: float | None = None,
    **options: Any,
) -> Mixture:
    """Corpora "0", "1", ... of so many utterances each, in two shards."""
    sequences = {}
    for number, size in enumerate(sizes):
        shards = random_shards(size, num_shards=2, seed=number)
        index = fake_index(shards, checksum=f"{number}-{size}")
        plan = PlanOptions(max_batch_s=1.0 + number / 4, shuffle=True)
        sequences[str(number)] = BatchSequence(Planner(index, plan))
    given_weights = None if weights is None else dict(zip(sequences, weights, strict=True))
    samples = {name: sequence.planner.num_samples for name, sequence in sequences.items()}
    shares = share_weights(samples, weights=given_weights, temperature=temperature)
    return Mixture(sequences, weights=shares, **options)


def rounds(mixture: Mixture, position: MixedPosition, world_size: int) -> list[tuple[Step, ...]]:
    """The rest of the epoch: what all ranks get in each round."""
    position = mixture.for_ranks(position, world_size)
    of_ranks = [list(mixture.walk(position, rank=rank)) for rank in range(world_size)]
    left = mixture.epoch_length(position) - position.epoch_batches
    assert {len(steps) for steps in of_ranks} == {left}
    return list(zip(*of_ranks, strict=True))


def key(step: Step) -> tuple[int, int, tuple[int, ...]]:
    return step.corpus, step.position.pass_number, tuple(map(int, step.rows))


def stream(mixture: Mixture, num_batches: int) -> list[Step]:
    """The beginning of the endless sequence, as one rank has it."""
    steps: list[Step] = []
    position = mixture.start
    while len(steps) < num_batches:
        steps += [step for (step,) in rounds(mixture, position, 1)]
        position = mixture.next_epoch(steps[-1].position)
    return steps[:num_batches]


def check_passes(mixture: Mixture, steps: list[Step]) -> None:
    """Each pass of each corpus has each row once, but for the last, which may be begun only."""
    used = Counter(
        (step.corpus, step.position.pass_number, int(r)) for step in steps for r in step.rows
    )
    assert set(used.values()) <= {1}
    counts = Counter((corpus, number) for corpus, number, _ in used)
    for (corpus, number), count in counts.items():
        if (corpus, number + 1) in counts:
            assert count == mixture.sequences[corpus].planner.num_utterances


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    sizes=SIZES,
    temperature=st.sampled_from([None, 0.5, 3.0, float("inf")]),
    shares=st.none() | st.lists(st.floats(0.02, 1.0), min_size=4, max_size=4),
    stops=st.lists(st.tuples(st.integers(1, 5), st.integers(0, 8), st.booleans()), max_size=5),
)
def test_mixture_stops_and_other_ranks_lose_and_repeat_nothing(sizes, temperature, shares, stops):
    if shares is not None:
        mixture = make_mixture(sizes, weights=shares[: len(sizes)])
    else:
        mixture = make_mixture(sizes, temperature=temperature)
    position, used = mixture.start, []
    for world_size, stop, goes_on in [*stops, (1, 100, True)]:
        had = rounds(mixture, position, world_size)[:stop]
        if had:
            assert len({step.position for step in had[-1]}) == 1
            used += [step for steps in had for step in steps]
            position = had[-1][0].position
        position = mixture.position(json.loads(json.dumps(mixture.state(position))))
        if not goes_on:
            position = mixture.next_epoch(position)
    assert [key(step) for step in used] == [key(s) for s in stream(mixture, len(used))]
    check_passes(mixture, used)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(sizes=SIZES, data=st.data(), seed=st.integers(0, 3))
def test_mixture_shares_of_audio_are_met_within_a_batch(sizes, data, seed):
    weight = st.floats(0.02, 1.0)
    weights = data.draw(st.lists(weight, min_size=len(sizes), max_size=len(sizes)))
    mixture = make_mixture(sizes, weights=weights, seed=seed)
    bound = 1.0 + 0.25 * len(sizes)  # seconds: no batch is longer
    behind = bound * sum(1 / n for n in range(1, max(2, len(sizes))))
    had = [0.0] * len(sizes)
    for step in stream(mixture, 80):
        planner = mixture.sequences[step.corpus].planner
        had[step.corpus] += int(planner._lengths[step.rows].sum()) / planner.rate_hz
        for weight, seconds in zip(weights, had, strict=True):
            lack = weight / sum(weights) * sum(had) - seconds
            assert -bound - 1e-6 <= lack <= behind + 1e-6


@settings(max_examples=30, deadline=None, derandomize=True)
@given(sizes=SIZES, epochs=st.integers(1, 3))
def test_mixture_as_the_hours_are_one_epoch_is_one_pass_of_each(sizes, epochs):
    mixture = make_mixture(sizes)
    position = mixture.start
    for number in range(epochs):
        steps = [step for (step,) in rounds(mixture, position, 1)]
        assert {step.position.pass_number for step in steps} == {number}
        assert sum(len(step.rows) for step in steps) == sum(sizes)
        position = mixture.next_epoch(steps[-1].position)


@pytest.mark.parametrize("world_size", [2, 3, 5])
def test_mixture_epochs_of_ranks_stay_near_the_passes(world_size):
    mixture = make_mixture([40, 25])
    position, num_batches = mixture.start, 0
    for number in range(12):
        had = rounds(mixture, position, world_size)
        num_batches += len(had) * world_size
        passes = sum(len(mixture.epoch(epoch)) for epoch in range(number + 1))
        assert passes <= num_batches < passes + 2 * world_size
        position = mixture.next_epoch(had[-1][0].position)


def test_mixture_nominal_epochs_have_their_length_and_go_on():
    mixture = make_mixture([30, 9], temperature=2.0, batches_per_epoch=5)
    first = rounds(mixture, mixture.start, 2)
    assert [steps[0].ends_epoch for steps in first] == [False] * 4 + [True]
    second = rounds(mixture, mixture.next_epoch(first[-1][0].position), 2)
    resumed = rounds(mixture, first[2][0].position, 2)
    assert [list(map(key, steps)) for steps in resumed] == [list(map(key, s)) for s in first[3:]]
    keys = [key(step) for steps in [*first, *second] for step in steps]
    assert keys == [key(step) for step in stream(mixture, 20)]


def test_mixture_more_ranks_than_batches_gives_each_one():
    mixture = make_mixture([1, 1])
    position = mixture.start
    for _ in range(3):
        had = rounds(mixture, position, 7)
        assert len(had) == 1
        assert min(len(step.rows) for step in had[0]) == 1
        position = mixture.next_epoch(had[0][0].position)


def test_mixture_order_is_that_of_seed_and_corpora():
    keys = [key(step) for step in stream(make_mixture([30, 20, 10]), 30)]
    assert keys == [key(step) for step in stream(make_mixture([30, 20, 10]), 30)]
    seeds = [stream(make_mixture([30, 30, 30], seed=seed), 1)[0].corpus for seed in range(20)]
    assert set(seeds) == {0, 1, 2}


def test_mixture_epoch_by_number_is_that_of_one_rank():
    mixture = make_mixture([30, 9], temperature=4.0)
    epochs = {number: [key(step) for step in mixture.epoch(number)] for number in (2, 0, 1)}
    keys = epochs[0] + epochs[1] + epochs[2]
    assert keys == [key(step) for step in stream(mixture, len(keys))]
    assert keys[-len(epochs[2]) :] == [key(step) for step in mixture.epoch(2)]


def test_mixture_state_of_another_mixture_error_names_all():
    state = make_mixture([30, 20]).state(MixedPosition(((0, 1), (0, 0))))
    with pytest.raises(ValueError, match=r"corpus '1' is gone.* expected a checkpoint of the same"):
        make_mixture([30]).position(state)
    with pytest.raises(ValueError, match=r"corpus '2' is new"):
        make_mixture([30, 20, 5]).position(state)
    with pytest.raises(ValueError, match=r"1: the checkpoint is of the index 1-20, .* is 1-21"):
        make_mixture([30, 21]).position(state)
    with pytest.raises(ValueError, match=r"the share of '0' is 0.75, was 0\.[56]\d+"):
        make_mixture([30, 20], weights=[3, 1]).position(state)
    with pytest.raises(ValueError, match="format is 'x'"):
        make_mixture([30, 20]).position({**state, "format": "x"})


def test_shares_by_temperature():
    samples = {"large": 1600, "small": 100}
    assert share_weights(samples) == share_weights(samples, temperature=1.0) == samples
    shares = share_weights(samples, temperature=2.0)
    assert shares["large"] / shares["small"] == pytest.approx(4)
    even = share_weights(samples, temperature=float("inf"))
    assert even["large"] == even["small"]


def test_shares_by_weights_are_relative():
    shares = share_weights({"a": 5, "b": 9}, weights={"b": 1, "a": 3})
    assert list(shares) == ["a", "b"]
    assert shares["a"] == 3 * shares["b"]


def test_shares_wrong_error_names_all():
    with pytest.raises(ValueError) as caught:
        share_weights({"a": 5, "b": 9}, weights={"a": 0, "c": 1}, temperature=-1)
    for text in (
        "temperature is -1; expected > 0",
        "expected one of them",
        "no weight is given for 'b'",
        "a weight is given for 'c', which is none of a, b",
        "the weight of 'a' is 0; expected > 0",
    ):
        assert text in str(caught.value)
