"""The packed loss equals the dense one, torchaudio's and brute force; its gradient is right."""

from dataclasses import replace

import pytest
import torch

from recipes.LibriSpeech.ASR.transducer import loss as loss_module
from recipes.LibriSpeech.ASR.transducer.lattice import by_scan, by_torchaudio
from recipes.LibriSpeech.ASR.transducer.loss import dense_logits, make_loss, torchaudio_loss
from tests.unit.recipes.transducer.tiny import brute_force, joint_inputs

LENGTHS = {
    "full": [(5, 3), (5, 3)],
    "varied": [(7, 4), (3, 2), (5, 0), (1, 3)],
    "no tokens": [(4, 0), (2, 0)],
    "one step": [(1, 2), (1, 0)],
    "one utterance": [(6, 3)],
}


def run(loss, inputs, **changes):
    """Return losses, and the gradients of a weighted sum by enc, pred, weight and bias."""
    enc, pred, head = inputs.enc, inputs.pred, inputs.head
    enc, pred = (half.clone().requires_grad_() for half in (enc, pred))
    losses = loss(replace(inputs, enc=enc, pred=pred, **changes))
    weights = torch.linspace(0.5, 1.5, len(losses), dtype=losses.dtype).to(losses.device)
    grads = torch.autograd.grad((losses * weights).sum(), [enc, pred, head.weight, head.bias])
    return losses.detach(), grads


def make(name, *, chunk_rows=7, size=6, v=7):
    return make_loss(name, chunk_rows=chunk_rows, joint_size=size, num_classes=v)


@pytest.mark.parametrize(
    ("lengths", "other"),
    # torchaudio wants at least one token in a batch
    [(name, other) for name in LENGTHS for other in ("dense", "torchaudio")
     if (name, other) != ("no tokens", "torchaudio")],
)  # fmt: skip
def test_packed_loss_equals_others(lengths, other):
    inputs = joint_inputs(LENGTHS[lengths])
    losses, grads = run(make("packed"), inputs)
    others, other_grads = run(make(other), inputs)
    assert torch.allclose(losses, others, rtol=1e-5)
    for ours, theirs in zip(grads, other_grads, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-4)


def test_torchaudio_loss_of_too_many_logits_is_that_of_halves(monkeypatch):
    inputs = joint_inputs([(7, 4), (3, 2), (5, 1), (1, 3), (4, 4)])
    expected, expected_grads = run(torchaudio_loss, inputs)
    seen, dense = [], loss_module.dense_logits

    def counted(part):
        logits = dense(part)
        seen.append(logits.numel())
        return logits

    monkeypatch.setattr(loss_module, "dense_logits", counted)
    monkeypatch.setattr(loss_module, "MAX_LOGITS", 7 * 5 * 7 * 2)
    losses, grads = run(torchaudio_loss, inputs)
    assert len(seen) == 4 and max(seen) < 7 * 5 * 7 * 2
    assert torch.allclose(losses, expected)
    for ours, theirs in zip(grads, expected_grads, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
def test_packed_loss_equals_brute_force(lengths):
    inputs = joint_inputs(lengths, dtype=torch.float64)
    losses, _ = run(make("packed"), inputs)
    logp = dense_logits(inputs).log_softmax(-1)
    for number, (steps, tokens) in enumerate(lengths):
        labels = inputs.tokens[number, :tokens].tolist()
        expected = brute_force(logp[number, :steps], labels)
        assert losses[number].item() == pytest.approx(expected.item(), rel=1e-10)


def test_packed_loss_any_chunk_is_the_same():
    inputs = joint_inputs(LENGTHS["varied"], dtype=torch.float64)
    others, other_grads = run(make("packed", chunk_rows=1000), inputs)
    num_rows = sum(steps * (tokens + 1) for steps, tokens in LENGTHS["varied"])
    for chunk_rows in range(1, num_rows + 2):
        losses, grads = run(make("packed", chunk_rows=chunk_rows), inputs)
        assert torch.allclose(losses, others, rtol=1e-12), chunk_rows
        for ours, theirs in zip(grads, other_grads, strict=True):
            assert torch.allclose(ours, theirs, atol=1e-12), chunk_rows


def test_packed_loss_gradient_is_that_of_finite_differences():
    inputs = joint_inputs([(4, 2), (3, 1)], dtype=torch.float64, size=5, v=6)
    loss = make("packed", chunk_rows=4, size=5, v=6)

    def of(enc, pred, weight, bias):
        head = torch.nn.Linear(5, 6).double()
        del head.weight, head.bias
        head.weight, head.bias = weight, bias
        return loss(replace(inputs, enc=enc, pred=pred, head=head))

    tensors = [inputs.enc, inputs.pred, inputs.head.weight, inputs.head.bias]
    tensors = [t.detach().clone().requires_grad_() for t in tensors]
    assert torch.autograd.gradcheck(of, tensors)


def test_packed_loss_rows_beyond_the_lengths_change_nothing():
    inputs = joint_inputs(LENGTHS["varied"], dtype=torch.float64)
    losses, grads = run(make("packed"), inputs)
    others, other_grads = run(make("packed"), inputs, host_rows=150)
    assert torch.allclose(losses, others)
    for ours, theirs in zip(grads, other_grads, strict=True):
        assert torch.allclose(ours, theirs)


def test_packed_loss_with_fewer_rows_than_needed_is_refused():
    with pytest.raises(ValueError, match="host_rows is 40 for 53 rows"):
        run(make("packed"), joint_inputs(LENGTHS["varied"]), host_rows=40)


def test_packed_loss_dropout_masks_of_both_passes_are_equal():
    # With one mask the loss is a function of the inputs whose gradient finite differences give.
    inputs = joint_inputs([(4, 2), (2, 1)], dtype=torch.float64)
    loss = make("packed", chunk_rows=4)

    def of(enc, pred, dropout=0.4):
        torch.manual_seed(7)
        return loss(replace(inputs, enc=enc, pred=pred, dropout=dropout))

    tensors = [half.detach().clone().requires_grad_() for half in (inputs.enc, inputs.pred)]
    assert torch.autograd.gradcheck(of, tensors)
    assert not torch.allclose(of(*tensors), of(*tensors, dropout=0.0))


def test_packed_loss_dropout_keeps_the_expected_share():
    kernels = make("packed").kernels
    mask = kernels.mask(torch.ones(400, 50), dropout=0.3, seed=5)
    assert torch.equal(mask, kernels.mask(torch.ones(400, 50), dropout=0.3, seed=5))
    assert mask.mean().item() == pytest.approx(0.7, abs=0.02)


def test_loss_is_not_divided_by_lengths():
    inputs = joint_inputs([(7, 4)])
    losses, _ = run(make("packed"), inputs)
    torch.nn.init.zeros_(inputs.head.weight)
    torch.nn.init.zeros_(inputs.head.bias)
    uniform, _ = run(make("packed"), inputs)
    paths = torch.lgamma(torch.tensor(11.0)) - torch.lgamma(torch.tensor(7.0))
    paths = paths - torch.lgamma(torch.tensor(5.0))  # (6 + 4 over 4) ways to place the tokens
    assert uniform.item() == pytest.approx((11 * torch.tensor(7.0).log() - paths).item(), rel=1e-5)
    assert losses.item() > 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_packed_loss_half_precision_is_close(dtype):
    inputs = joint_inputs([(30, 12), (20, 9)], size=32, v=40)
    exact, exact_grads = run(make("packed", chunk_rows=64, size=32, v=40), inputs)
    half = replace(inputs, enc=inputs.enc.to(dtype), pred=inputs.pred.to(dtype))
    losses, grads = run(make("packed", chunk_rows=64, size=32, v=40), half)
    assert losses.dtype == torch.float32
    assert torch.allclose(losses, exact, rtol=5e-3)
    for ours, theirs in zip(grads, exact_grads, strict=True):
        cosine = torch.cosine_similarity(ours.float().flatten(), theirs.flatten(), dim=0)
        assert cosine > 0.998


@pytest.mark.parametrize("lengths", [LENGTHS["full"], LENGTHS["varied"]])
def test_lattice_scan_equals_torchaudio(lengths):
    generator = torch.Generator().manual_seed(1)
    steps, tokens = (max(pair[i] for pair in lengths) for i in (0, 1))
    shape = (len(lengths), steps + 2, tokens + 1)
    blank, label = (-torch.rand(shape, generator=generator) * 3 for _ in range(2))
    num = {
        "num_steps": torch.tensor([pair[0] for pair in lengths]),
        "num_tokens": torch.tensor([pair[1] for pair in lengths]),
    }
    for ours, theirs in zip(
        by_scan(blank, label, **num), by_torchaudio(blank, label, **num), strict=True
    ):
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_packed_loss_of_unknown_name_is_refused():
    with pytest.raises(ValueError, match="'pakced' with chunk_rows 7; expected one of packed"):
        make("pakced")


def test_torchaudio_is_the_reference():
    assert make("torchaudio") is torchaudio_loss
