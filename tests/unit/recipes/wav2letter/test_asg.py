"""The auto segmentation criterion against enumeration, autograd, and its own invariances."""

import pytest
import torch
from torch.autograd import gradcheck

from recipes.LibriSpeech.wav2letter.asg import ASG, stretch
from recipes.LibriSpeech.wav2letter.asg_paths import all_paths, path_score, target_paths
from tests.unit.recipes.wav2letter.reference import enumerated, looped, ragged


@pytest.fixture
def case():
    """Three utterances of different lengths, N = 4."""
    return ragged(num_tokens=4, frames=[6, 4, 5], lengths=[3, 4, 1])


def criterion(g, **options) -> ASG:
    asg = ASG(len(g), **options).double()
    asg.transitions.data.copy_(g)
    return asg


def test_scores_equal_the_sum_over_all_paths(case):
    x, g, y, frames, lengths = case
    full = all_paths(x, g, frames)
    aligned = target_paths(x, g, y, frames, lengths)
    for b in range(3):
        target = y[b, : lengths[b]].tolist()
        expected = torch.stack(enumerated(x[b, : frames[b]], g, target))
        assert torch.stack([full[b], aligned[b]]).sub(expected).abs().max() < 1e-9


def test_gradients_pass_gradcheck(case):
    x, g, y, frames, lengths = case
    x, g = x.requires_grad_(), g.requires_grad_()
    weights = torch.tensor([1.0, -0.5, 2.0], dtype=torch.float64)
    assert gradcheck(lambda x, g: (weights * all_paths(x, g, frames)).sum(), (x, g))
    assert gradcheck(lambda x, g: target_paths(x, g, y, frames, lengths), (x, g))
    assert gradcheck(lambda x, g: path_score(x, g, stretch(y, lengths, frames, 6), frames), (x, g))


def test_loss_and_gradients_equal_those_of_the_plain_loop():
    x, g, y, frames, lengths = ragged(num_tokens=30, frames=[50, 33], lengths=[12, 20], seed=3)
    x.requires_grad_()
    asg = criterion(g, scale="none")
    losses = asg(x, frames, y, lengths)
    losses.sum().backward()
    found = [x.grad.clone(), asg.transitions.grad.clone()]
    x.grad = None
    g = g.clone().requires_grad_()
    expected = [looped(x[b, : frames[b]], g, y[b, : lengths[b]]) for b in range(2)]
    torch.stack(expected).sum().backward()
    assert torch.allclose(losses, torch.stack(expected), rtol=0, atol=1e-9)
    assert torch.allclose(found[0], x.grad, rtol=0, atol=1e-10)
    assert torch.allclose(found[1], g.grad, rtol=0, atol=1e-9)


def test_gradient_of_a_frame_sums_to_zero_and_is_zero_in_padding(case):
    x, g, y, frames, lengths = case
    x.requires_grad_()
    criterion(g)(x, frames, y, lengths).sum().backward()
    assert x.grad.sum(-1).abs().max() < 1e-12
    assert not x.grad[1, 4:].any()
    assert x.grad[1, :4].abs().sum() > 0.1


@pytest.mark.parametrize("scale", ["none", "target", "target_sqrt"])
def test_constants_of_frames_or_transitions_change_nothing(case, scale):
    x, g, y, frames, lengths = case
    losses = criterion(g, scale=scale)(x, frames, y, lengths)
    shift = torch.linspace(-3, 40, x.shape[1], dtype=torch.float64)[None, :, None]
    assert torch.allclose(criterion(g, scale=scale)(x + shift, frames, y, lengths), losses)
    assert torch.allclose(criterion(g - 7, scale=scale)(x, frames, y, lengths), losses)
    assert (losses >= 0).all()


def test_scales_divide_by_the_length_or_its_root(case):
    x, g, y, frames, lengths = case
    plain, root, whole = (
        criterion(g, scale=scale)(x, frames, y, lengths)
        for scale in ("none", "target_sqrt", "target")
    )
    assert torch.allclose(root * lengths.double().sqrt(), plain)
    assert torch.allclose(whole * lengths, plain)


def test_linear_segmentation_leaves_one_path(case):
    x, g, y, frames, lengths = case
    found = criterion(g)(x, frames, y, lengths, is_linear=True)
    path = stretch(y, lengths, frames, 6)
    one = torch.stack(
        [
            x[b, torch.arange(n), path[b, :n]].sum() + g[path[b, 1:n], path[b, : n - 1]].sum()
            for b, n in enumerate(frames.tolist())
        ]
    )
    expected = (all_paths(x, g, frames) - one) / frames.double().sqrt()
    assert torch.allclose(found, expected)


def test_stretch_takes_each_token_for_its_share_of_the_frames():
    path = stretch(torch.tensor([[5, 6, 7]]), torch.tensor([3]), torch.tensor([7]), 8)
    assert path.tolist() == [[5, 5, 5, 6, 6, 7, 7, 7]]


def test_target_longer_than_its_frames_is_cut(case):
    x, g, y, _, _ = case
    frames = torch.tensor([2, 2, 2])
    losses = criterion(g)(x, frames, y, torch.tensor([4, 4, 4]))
    cut = criterion(g)(x, frames, y[:, :2], torch.tensor([2, 2, 2]))
    assert torch.allclose(losses, cut)


def test_without_lengths_padding_counts_as_in_the_original(case):
    x, g, y, frames, lengths = case
    padded = criterion(g, use_lengths=False)(x, frames, y, lengths)
    every = criterion(g)(x, torch.full_like(frames, 6), y, lengths)
    assert torch.equal(padded, every)
    assert (padded - criterion(g)(x, frames, y, lengths))[1:].abs().min() > 1e-3


def test_utterance_does_not_depend_on_its_batch(case):
    x, g, y, frames, lengths = case
    together = criterion(g)(x, frames, y, lengths)
    alone = criterion(g)(x[1:2, :4], frames[1:2], y[1:2], lengths[1:2])
    assert torch.allclose(together[1:2], alone, rtol=0, atol=1e-12)


def test_half_precision_emissions_and_autocast_give_the_float32_loss(case):
    x, g, y, frames, lengths = case
    asg = ASG(4)
    half = x.to(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        losses = asg(half.requires_grad_(), frames, y, lengths)
    assert losses.dtype == torch.float32
    expected = asg(half.detach().float(), frames, y, lengths)
    assert torch.allclose(losses, expected, rtol=0, atol=1e-6)
    losses.sum().backward()
    assert half.grad.dtype == torch.bfloat16


def test_scores_of_thousands_keep_exact_gradients():
    x, g, y, frames, lengths = ragged(num_tokens=5, frames=[400], lengths=[60], seed=1)
    x = (20 * x).requires_grad_()
    losses = criterion(g)(x, frames, y, lengths)
    losses.sum().backward()
    assert losses.isfinite().all()
    assert x.grad.sum(-1).abs().max() < 1e-10


def test_far_emissions_are_exact_and_too_wide_transitions_give_nan():
    x, g, y, frames, lengths = ragged(num_tokens=3, frames=[5], lengths=[2], seed=2)
    x[0, 2, 1] += 3000
    expected = looped(x[0], g, y[0])
    assert torch.allclose(criterion(g, scale="none")(x, frames, y, lengths), expected)
    g[0, 1] = 250
    assert criterion(g)(x, frames, y, lengths).isnan().all()


def test_transitions_begin_as_a_diagonal():
    assert torch.equal(ASG(30).transitions.data, 4 * torch.eye(30))
    assert ASG(30).transitions.numel() == 900
