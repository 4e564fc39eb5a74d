"""The losses against torch's own, against a sum over all paths, and by finite differences."""

import itertools
import math

import pytest
import torch

from recipes.MuSTC.ST.conformer.losses import ctc_loss, translation_loss

TOKENS = torch.tensor([[4, 5, 3, 0], [6, 3, 0, 0]])
NUM = torch.tensor([3, 2])


def logits(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_translation_loss_is_the_smoothed_sum():
    scores, e, size = logits(2, 4, 9), 0.1, 9
    logp = scores.log_softmax(-1)
    expected = 0.0
    for row, num in enumerate(NUM.tolist()):
        for place in range(num):
            nll = -logp[row, place, TOKENS[row, place]]
            expected += (1 - e) * nll - e / size * logp[row, place].sum()
    found = translation_loss(scores, TOKENS, NUM, label_smoothing=e)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_translation_loss_leaves_out_the_forced_place():
    scores = logits(2, 4, 9)
    whole = translation_loss(scores, TOKENS, NUM, label_smoothing=0.1)
    first = translation_loss(scores, TOKENS, torch.ones_like(NUM), label_smoothing=0.1)
    rest = translation_loss(scores, TOKENS, NUM, label_smoothing=0.1, num_ignored=1)
    assert rest.item() == pytest.approx((whole - first).item(), rel=1e-5)


def test_translation_loss_gradient_is_that_of_finite_differences():
    def loss(scores):
        flat = scores.flatten(0, 1)
        targets = TOKENS.masked_fill(torch.arange(4) >= NUM[:, None], -100).flatten()
        return torch.nn.functional.cross_entropy(
            flat, targets, ignore_index=-100, label_smoothing=0.1, reduction="sum"
        )

    scores = logits(2, 4, 9).double().requires_grad_()
    assert torch.autograd.gradcheck(loss, scores)
    (expected,) = torch.autograd.grad(loss(scores), scores)
    single = scores.detach().float().requires_grad_()
    translation_loss(single, TOKENS, NUM, label_smoothing=0.1).backward()
    assert torch.allclose(single.grad.double(), expected, atol=1e-5)


def sum_over_paths(logp, tokens, blank):
    """-log of the sum over all paths that collapse to the tokens."""
    total = 0.0
    for path in itertools.product(range(logp.shape[1]), repeat=len(logp)):
        collapsed = [symbol for symbol, _ in itertools.groupby(path)]
        if [symbol for symbol in collapsed if symbol != blank] == tokens:
            total += math.exp(sum(float(logp[t, s]) for t, s in enumerate(path)))
    return -math.log(total)


def test_ctc_loss_equals_the_sum_over_all_paths():
    scores = logits(2, 5, 4)
    tokens, num = torch.tensor([[1, 1], [2, 0]]), torch.tensor([2, 1])
    steps = torch.tensor([5, 3])
    found, infeasible = ctc_loss(scores, steps, tokens, num, blank_index=3)
    logp = scores.log_softmax(-1)
    expected = sum_over_paths(logp[0], [1, 1], 3) + sum_over_paths(logp[1, :3], [2], 3)
    assert found.item() == pytest.approx(expected, rel=1e-5)
    assert infeasible == 0


def test_ctc_loss_counts_what_cannot_be_aligned_and_keeps_gradients_finite():
    scores = logits(3, 4, 5).requires_grad_()
    tokens = torch.tensor([[1, 1, 2], [1, 1, 2], [0, 0, 0]])
    steps, num = torch.tensor([3, 4, 4]), torch.tensor([3, 3, 0])
    total, infeasible = ctc_loss(scores, steps, tokens, num, blank_index=4)
    total.backward()
    assert infeasible == 1  # three tokens, one of them again, need four steps
    assert scores.grad.isfinite().all()
    assert not scores.grad[0].any()
    blanks = -scores[2].log_softmax(-1)[:, 4].sum()
    alone, _ = ctc_loss(scores[1:2], steps[1:2], tokens[1:2], num[1:2], blank_index=4)
    assert total.item() == pytest.approx((alone + blanks).item(), rel=1e-5)


def test_ctc_loss_is_computed_in_float32():
    half = logits(1, 6, 5).to(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        total, _ = ctc_loss(
            half, torch.tensor([6]), torch.tensor([[1, 2]]), torch.tensor([2]), blank_index=4
        )
    exact, _ = ctc_loss(
        half.float(), torch.tensor([6]), torch.tensor([[1, 2]]), torch.tensor([2]), blank_index=4
    )
    assert total.dtype == torch.float32
    assert total.item() == pytest.approx(exact.item(), rel=1e-6)
