"""The pruned loss: its simple joint, its band, and that it bounds the exact loss from above."""

from dataclasses import replace

import pytest
import torch

from recipes.LibriSpeech.ASR.transducer.loss import make_loss
from recipes.LibriSpeech.ASR.transducer.pruned import PrunedLoss, band_starts, simple_scores
from tests.unit.recipes.transducer.tiny import joint_inputs


def test_simple_scores_equal_those_of_all_logits():
    inputs = joint_inputs([(5, 3), (4, 2)], dtype=torch.float64)
    generator = torch.Generator().manual_seed(2)
    am, lm = (torch.randn(2, n, 7, dtype=torch.float64, generator=generator) for n in (5, 4))
    blank, label = simple_scores(am, lm, inputs.tokens)
    logp = (am[:, :, None] + lm[:, None]).log_softmax(-1)
    assert torch.allclose(blank, logp[..., -1])
    for place in range(3):
        token = inputs.tokens[:, place, None, None].expand(-1, 5, 1)
        assert torch.allclose(label[:, :, place], logp[:, :, place].gather(2, token).squeeze(2))


def test_band_runs_from_start_to_end():
    generator = torch.Generator().manual_seed(4)
    steps, tokens = torch.tensor([12, 9, 12]), torch.tensor([8, 3, 1])
    starts = band_starts(torch.rand(3, 12, 9, generator=generator), steps, tokens, width=3)
    for row, num_steps, num_tokens in zip(starts, steps.tolist(), tokens.tolist(), strict=True):
        own = row[:num_steps]
        assert own[0] == 0
        assert own[-1] == max(num_tokens + 1 - 3, 0)
        assert ((own.diff() >= 0) & (own.diff() <= 2)).all()


def test_pruned_loss_full_width_is_exact():
    inputs = joint_inputs([(6, 3), (4, 2)], dtype=torch.float64)
    pruned = PrunedLoss(joint_size=6, num_classes=7, chunk_rows=5, width=9).double().eval()
    exact = make_loss("packed", chunk_rows=5, joint_size=6, num_classes=7)
    assert torch.allclose(pruned(inputs), exact(inputs))


def test_pruned_loss_bounds_the_exact_one_from_above():
    inputs = joint_inputs([(10, 7), (8, 5)])
    pruned = PrunedLoss(joint_size=6, num_classes=7, chunk_rows=5, width=2).eval()
    exact = make_loss("packed", chunk_rows=5, joint_size=6, num_classes=7)
    more, less = pruned(inputs), exact(inputs)
    assert torch.isfinite(more).all()
    assert (more > less).all()


def test_pruned_loss_trains_its_projections():
    inputs = joint_inputs([(6, 3)])
    pruned = PrunedLoss(joint_size=6, num_classes=7, chunk_rows=5, width=2, num_warmup=2)
    first = pruned(inputs)
    first.sum().backward()
    assert pruned.simple_enc.weight.grad.abs().max() > 0
    assert pruned.num_calls.item() == 1
    assert first.item() != pytest.approx(pruned(inputs).item())


def test_simple_loss_and_band_are_those_of_float32_under_autocast():
    inputs = joint_inputs([(10, 7), (8, 5)])
    pruned = PrunedLoss(joint_size=6, num_classes=7, chunk_rows=5, width=2)
    expected, starts = pruned._simple(inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, found_starts = pruned._simple(inputs)
    assert found.dtype == expected.dtype
    assert torch.equal(found, expected)
    assert torch.equal(found_starts, starts)
    half = replace(inputs, enc=inputs.enc.bfloat16(), pred=inputs.pred.bfloat16())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, _ = pruned._simple(half)
    assert torch.allclose(found, expected, rtol=0.01)
