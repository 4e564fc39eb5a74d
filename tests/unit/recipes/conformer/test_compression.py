"""The vectorised compression against the loop, its edges, and its precision."""

import pytest
import torch

from recipes.MuSTC.ST.conformer import best_symbols
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


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("parts", [1, 5, None])
def test_compression_is_the_same_in_whatever_parts_logits_are_read(monkeypatch, strategy, parts):
    states, logits, lengths = case([17, 1, 40, 8])
    if parts is None:  # as on a GPU
        monkeypatch.setattr(best_symbols, "_parts", lambda *_: [slice(None)])
    else:
        monkeypatch.setattr(best_symbols, "CACHED_LOGITS", parts * logits.shape[-1])
        monkeypatch.setattr(torch, "get_num_threads", lambda: 3 if parts == 5 else 1)
    mixed, num_runs = CTCCompression(strategy=strategy)(states, logits, lengths)
    wanted, wanted_runs = reference.compress(states, logits, lengths, strategy=strategy)
    assert torch.equal(num_runs, wanted_runs)
    assert torch.allclose(mixed, wanted, atol=1e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_compression_on_a_gpu_equals_that_on_a_cpu(strategy):
    states, logits, lengths = case([170, 1, 400, 80], symbols=50)
    module = CTCCompression(strategy=strategy, max_runs=60)
    mixed, num_runs = module(states, logits, lengths)
    found, found_runs = module(states.cuda(), logits.cuda(), lengths.cuda())
    assert torch.equal(found_runs.cpu(), num_runs)
    assert torch.allclose(found.cpu(), mixed, atol=1e-5)


def test_compression_cap_takes_the_symbol_that_first_has_most_steps():
    # Symbols 2 and 1 have three steps each; 2 has its third one before 1 has.
    symbols = torch.tensor([[2, 2, 1, 1, 2, 0, 1]])
    probs = torch.full((7, 3), 0.1)
    probs[torch.arange(7), symbols[0]] = torch.tensor([0.8, 0.7, 0.6, 0.9, 0.5, 0.75, 0.65])
    states, lengths = torch.eye(7)[None], torch.tensor([7])
    mixed, _ = CTCCompression(strategy="weighted", max_runs=1)(states, probs.log()[None], lengths)
    wanted = (probs / probs.sum(1, keepdim=True))[:, 2]
    assert torch.allclose(mixed[0, 0], wanted / wanted.sum(), atol=1e-6)


def test_compression_gradient_is_that_of_finite_differences():
    states, logits, lengths = case([9, 4])
    runs = torch.tensor([[0, 0, 1, 1, 1, 2, 3, 3, 3], [0, 1, 1, 1, 4, 4, 4, 4, 4]])
    weights = torch.rand(2, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    values = states.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: sum_runs(x, weights, runs, 4), values)
    logits.requires_grad_()
    CTCCompression(strategy="softmax")(states.requires_grad_(), logits, lengths)[0].sum().backward()
    assert logits.grad is None  # nothing flows through the choice of symbols


@pytest.mark.parametrize("factor", [1.0, 300.0, 1e-3])
@pytest.mark.parametrize("shift", [0.0, 500.0, -500.0])
def test_compression_of_large_logits_overflows_nowhere(factor, shift):
    states, logits, lengths = case([17, 40])
    logits = factor * logits + shift
    mixed, _ = CTCCompression(strategy="weighted")(states, logits, lengths)
    wanted, _ = reference.compress(states, logits, lengths, strategy="weighted")
    assert torch.allclose(mixed, wanted, atol=1e-6)


@pytest.mark.parametrize("max_runs", [None, 4])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_compression_pads_are_exactly_zero_and_change_nothing(strategy, max_runs):
    states, logits, lengths = case([30, 11, 1])
    module = CTCCompression(strategy=strategy, max_runs=max_runs)
    is_pad = torch.arange(30)[:, None] >= lengths[:, None, None]
    wild = states.masked_fill(is_pad, 1e4).requires_grad_()
    mixed, num_runs = module(wild, logits.masked_fill(is_pad, 1e4), lengths)
    mixed.sum().backward()
    assert not wild.grad.masked_select(is_pad).any()
    for number, length in enumerate(lengths.tolist()):
        row = slice(number, number + 1)
        alone, alone_runs = module(states[row, :length], logits[row, :length], lengths[row])
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


@pytest.mark.parametrize("num_threads", [1, 3])
def test_compression_of_equal_logits_takes_the_first_symbol(monkeypatch, num_threads):
    monkeypatch.setattr(torch, "get_num_threads", lambda: num_threads)
    logits = torch.tensor([[0.0, 2.0, 1.0, 2.0], [2.0, 2.0, 2.0, 2.0]])[None]
    found = best_symbols.best_symbols(logits, torch.tensor([2]), with_sums=True)
    assert found.symbols.tolist() == [[1, 0]]
    probs = logits.softmax(-1).amax(-1)
    assert torch.allclose((logits.amax(-1) - found.offsets).exp() / found.sums, probs)


@pytest.mark.parametrize(
    ("num_runs", "expected"), [(88, 18), (76, 19), (57, 19), (42, 14), (20, 20)]
)
def test_compression_cap_merges_neighbours(num_runs, expected):
    logits = torch.eye(num_runs)[None]
    module = CTCCompression(max_runs=20)
    assert module(torch.ones(1, num_runs, 2), logits, torch.tensor([num_runs])).lengths == expected


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_compression_of_half_precision_sums_in_float32(dtype, strategy):
    states, logits, lengths = case([90, 40], repeats=20)
    half = states.to(dtype)
    mixed, num_runs = CTCCompression(strategy=strategy)(half, logits, lengths)
    exact, wanted_runs = reference.compress(half.float(), logits, lengths, strategy=strategy)
    assert torch.equal(num_runs, wanted_runs)
    assert mixed.dtype == dtype
    # Only the result is rounded: by half of the least step between two numbers.
    bound = 0.5 * torch.finfo(dtype).eps * exact.abs() + 1e-6
    assert ((mixed.float() - exact).abs() <= bound).all()


def test_compression_of_no_step_is_an_error():
    states, logits, _ = case([4, 4])
    with pytest.raises(ValueError, match="no step"):
        CTCCompression()(states, logits, torch.tensor([4, 0]))


def test_compression_wrong_options_are_named_at_once():
    with pytest.raises(ValueError, match=r"strategy is 'mean'.*max_runs is 0.*chunk_steps is 0"):
        CTCCompression(strategy="mean", max_runs=0, chunk_steps=0)
    assert new_compression(strategy="identity") is None
