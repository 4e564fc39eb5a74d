"""The vectorised compression against the loop, its edges, and its precision."""

import pytest
import torch

from recipes.MuSTC.ST.conformer.compression import CTCCompression, sum_runs
from recipes.MuSTC.ST.conformer.variants import new_compression
from tests.unit.recipes.conformer import reference_compression as reference

STRATEGIES = ["avg", "weighted", "softmax", "fixed"]


def case(lengths, *, symbols=5, repeats=3, size=6, seed=0):
    """States, and logits whose best symbols come in runs of about `repeats` steps."""
    generator = torch.Generator().manual_seed(seed)
    longest = max(lengths)
    states = torch.randn(len(lengths), longest, size, generator=generator)
    logits = torch.randn(len(lengths), longest // repeats + 1, symbols, generator=generator)
    logits = logits.repeat_interleave(repeats, 1)[:, :longest]
    noise = 0.1 * torch.randn(logits.shape, generator=generator)
    return states, logits + noise, torch.tensor(lengths)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("max_runs", [None, 1, 3, 20])
@pytest.mark.parametrize("lengths", [[1], [17, 1, 40, 8], [5, 5], [64, 63, 62, 61]])
def test_compression_equals_loop_in_value_and_gradient(strategy, max_runs, lengths):
    states, logits, lengths = case(lengths)
    options = {"strategy": strategy, "max_runs": max_runs}
    found, expected = states.clone().requires_grad_(), states.clone().requires_grad_()
    mixed, num_runs = CTCCompression(**options)(found, logits, lengths)
    wanted, wanted_runs = reference.compress(expected, logits, lengths, **options)
    assert torch.equal(num_runs, wanted_runs)
    assert torch.allclose(mixed, wanted, atol=1e-6)
    direction = torch.randn(mixed.shape, generator=torch.Generator().manual_seed(1))
    (mixed * direction).sum().backward()
    (wanted * direction).sum().backward()
    assert torch.allclose(found.grad, expected.grad, atol=1e-6)


def test_compression_gradient_is_that_of_finite_differences():
    states, logits, lengths = case([9, 4])
    module = CTCCompression(strategy="softmax")

    def compressed(x):
        return sum_runs(
            x, torch.tensor([[0, 0, 1, 1, 1, 2, 3, 3, 3], [0, 1, 1, 1, 4, 4, 4, 4, 4]]), 4
        )

    assert torch.autograd.gradcheck(compressed, states.double().requires_grad_())
    logits.requires_grad_()
    module(states.requires_grad_(), logits, lengths)[0].sum().backward()
    assert logits.grad is None  # nothing flows through the choice of symbols


def test_compression_pads_are_exactly_zero_and_change_nothing():
    states, logits, lengths = case([30, 11, 1])
    wild = states.masked_fill(torch.arange(30)[:, None] >= lengths[:, None, None], 1e4)
    mixed, num_runs = CTCCompression()(wild, logits, lengths)
    for number, length in enumerate(lengths.tolist()):
        alone, alone_runs = CTCCompression()(
            states[number : number + 1, :length], logits[number : number + 1, :length],
            lengths[number : number + 1],
        )  # fmt: skip
        runs = int(num_runs[number])
        assert runs == int(alone_runs)
        assert torch.equal(mixed[number, :runs], alone[0])
        assert not mixed[number, runs:].any()


def test_compression_all_blank_is_the_mean_of_the_utterance():
    states, _, lengths = case([12, 7])
    logits = torch.zeros(2, 12, 5)
    logits[..., 4] = 1.0
    mixed, num_runs = CTCCompression()(states, logits, lengths)
    assert num_runs.tolist() == [1, 1]
    assert torch.allclose(mixed[1, 0], states[1, :7].mean(0), atol=1e-6)


def test_compression_without_repeats_is_the_identity():
    states, _, lengths = case([10, 6])
    logits = torch.eye(10).expand(2, 10, 10)
    mixed, num_runs = CTCCompression()(states, logits, lengths)
    assert num_runs.tolist() == [10, 6]
    assert torch.equal(mixed[0], states[0])
    assert torch.equal(mixed[1, :6], states[1, :6])


def test_compression_of_equal_logits_takes_the_first_symbol():
    states, _, lengths = case([6])
    assert CTCCompression()(states, torch.zeros(1, 6, 4), lengths).lengths.tolist() == [1]


@pytest.mark.parametrize(
    ("num_runs", "expected"), [(88, 18), (76, 19), (57, 19), (42, 14), (20, 20)]
)
def test_compression_cap_merges_neighbours(num_runs, expected):
    logits = torch.eye(num_runs)[None]
    module = CTCCompression(max_runs=20)
    assert module(torch.ones(1, num_runs, 2), logits, torch.tensor([num_runs])).lengths == expected


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_compression_of_half_precision_sums_in_float32(dtype):
    states, logits, lengths = case([90, 40], repeats=20)
    half = states.to(dtype)
    mixed, _ = CTCCompression()(half, logits.to(dtype).float(), lengths)
    exact, _ = reference.compress(half.float(), logits.to(dtype).float(), lengths)
    assert mixed.dtype == dtype
    bound = 0.005 * exact.abs().max()
    assert (mixed.float() - exact).abs().max() < bound


def test_compression_of_no_step_is_an_error():
    states, logits, _ = case([4, 4])
    with pytest.raises(ValueError, match="no step"):
        CTCCompression()(states, logits, torch.tensor([4, 0]))


def test_compression_wrong_options_are_named_at_once():
    with pytest.raises(ValueError, match=r"strategy is 'mean'.*max_runs is 0.*chunk_steps is 0"):
        CTCCompression(strategy="mean", max_runs=0, chunk_steps=0)
    assert new_compression(strategy="identity") is None
