"""The Triton kernels equal PyTorch's operations; run by test_triton.py under the interpreter."""

import pytest
import torch

from recipes.LibriSpeech.ASR.transducer.kernels import RowKernels
from recipes.LibriSpeech.ASR.transducer.lattice import by_scan
from recipes.LibriSpeech.ASR.transducer.loss import PackedLoss
from recipes.LibriSpeech.ASR.transducer.rows import Chunk
from recipes.LibriSpeech.ASR.transducer.triton_lattice import by_triton
from recipes.LibriSpeech.ASR.transducer.triton_rows import TritonKernels
from tests.unit.recipes.transducer.test_loss import run
from tests.unit.recipes.transducer.tiny import joint_inputs


@pytest.fixture
def chunk():
    generator = torch.Generator().manual_seed(0)
    index = torch.randint(0, 4, (6,), generator=generator)
    return Chunk(index, index.flip(0), index, torch.tensor([0, 3, 9, 2, 5, 1]), index >= 0)


def test_row_kernels_equal_plain_ones(chunk):
    ours, plain = TritonKernels(), RowKernels()
    generator = torch.Generator().manual_seed(1)
    halves = tuple(torch.randn(4, 12, generator=generator) for _ in range(2))
    hidden = [
        kernels.hidden(halves, chunk, dropout=0.0, seed=0, out=torch.empty(6, 12))
        for kernels in (ours, plain)
    ]
    assert torch.allclose(*hidden)
    logits = torch.randn(6, 11, generator=generator)
    both = [kernels.scores(logits, chunk.label) for kernels in (ours, plain)]
    for mine, theirs in zip(*both, strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6)
    grads = [-torch.rand(6, generator=generator) for _ in range(2)]
    deltas = [
        kernels.grads_(logits.clone(), both[1][0], *grads, chunk.label) for kernels in (ours, plain)
    ]
    assert torch.allclose(*deltas, atol=1e-6)
    back = [k.hidden_grads_(torch.ones(6, 12), hidden[1], 2.0) for k in (ours, plain)]
    assert torch.equal(*back)


def test_row_kernels_dropout_is_a_function_of_the_seed(chunk):
    kernels = TritonKernels()
    halves = (torch.ones(4, 64), torch.ones(4, 64))
    first, again, other = (
        kernels.hidden(halves, chunk, dropout=0.25, seed=seed, out=torch.empty(6, 64))
        for seed in (3, 3, 4)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.unique().tolist() == pytest.approx([0.0, 2.0 / 0.75])
    assert (first > 0).float().mean().item() == pytest.approx(0.75, abs=0.08)


@pytest.mark.parametrize("lengths", [[(5, 3), (3, 1)], [(1, 2), (4, 0)]])
def test_lattice_kernel_equals_scan(lengths):
    generator = torch.Generator().manual_seed(1)
    steps, tokens = (max(pair[i] for pair in lengths) for i in (0, 1))
    blank, label = (-3 * torch.rand(2, steps, tokens + 1, generator=generator) for _ in range(2))
    num = {
        "num_steps": torch.tensor([pair[0] for pair in lengths]),
        "num_tokens": torch.tensor([pair[1] for pair in lengths]),
    }
    ours, plain = (how(blank, label, **num) for how in (by_triton, by_scan))
    for mine, theirs in zip(ours, plain, strict=True):
        assert torch.allclose(mine, theirs, atol=1e-5)


def test_loss_by_triton_equals_packed():
    inputs = joint_inputs([(4, 2), (3, 1)])
    in_triton = PackedLoss(5, TritonKernels(), by_triton)
    in_torch = PackedLoss(5, RowKernels(), by_scan)
    (losses, grads), (others, other_grads) = (run(loss, inputs) for loss in (in_triton, in_torch))
    assert torch.allclose(losses, others, atol=1e-4)
    for ours, theirs in zip(grads, other_grads, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-4)
