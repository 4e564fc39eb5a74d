"""Updates of the common Brain: accumulation, remainder, padding, clipping, non-finite values."""

import math

import pytest
import torch
from torch import nn

from recipes.common.loss import LossSum
from recipes.common.stepping import gradients
from recipes.common.update import NonFiniteError
from tests.unit.recipes.common.toy import ToyLoader, make_batches, make_brain, merge, weights

F64 = torch.float64


def fitted(batches, *, factor=1, epochs=1, dtype=F64, **options):
    run_opts = {"grad_accumulation_factor": factor, **options.pop("run_opts", {})}
    brain, counter = make_brain(epochs=epochs, dtype=dtype, run_opts=run_opts, **options)
    brain.fit(counter, ToyLoader(batches, has_ends=options.pop("has_ends", True)))
    return brain


@pytest.mark.parametrize("max_grad_norm", [None, 0.05])
def test_accumulation_of_unequal_batches_equals_the_large_batch(max_grad_norm):
    batches = make_batches([1, 5, 2, 7, 3, 3, 1, 2], dtype=F64)
    run_opts = {"max_grad_norm": max_grad_norm}
    small = fitted(batches, factor=4, epochs=3, run_opts=run_opts)
    large = fitted([merge(batches[:4]), merge(batches[4:])], epochs=3, run_opts=run_opts)
    assert small.optimizer_step == large.optimizer_step == 6
    assert torch.allclose(weights(small), weights(large), rtol=0, atol=1e-12)
    assert [r.loss for r in small.reports] == pytest.approx([r.loss for r in large.reports])
    assert small.reports[0].grad_norm == pytest.approx(large.reports[0].grad_norm)


def test_accumulation_remainder_of_an_epoch_is_applied_with_its_own_count():
    batches = make_batches([2, 3, 1, 4, 2], dtype=F64)
    small = fitted(batches, factor=3, epochs=2)
    large = fitted([merge(batches[:3]), merge(batches[3:])], epochs=2)
    assert [r.count for r in small.reports] == [6, 6, 6, 6]
    assert torch.allclose(weights(small), weights(large), rtol=0, atol=1e-12)


def test_remainder_with_a_sized_loader_without_ends_is_applied():
    brain, counter = make_brain(epochs=2, run_opts={"grad_accumulation_factor": 3})
    brain.fit(counter, ToyLoader(make_batches([2, 2, 2, 2]), has_ends=False))
    assert [r.count for r in brain.reports] == [6, 2, 6, 2]


def test_padding_batch_changes_nothing():
    batches = make_batches([2, 0, 3, 0, 0], dtype=F64)
    padded = fitted(batches, factor=2)
    plain = fitted([b for b in batches if not b.is_padding])
    assert [(r.count, r.is_applied) for r in padded.reports] == [(2, True), (3, True), (0, False)]
    assert torch.equal(weights(padded), weights(plain))
    assert padded.nonfinite.num_skipped == 0


def test_reported_train_loss_is_a_mean_per_unit_not_per_batch():
    batches = make_batches([1, 9])
    brain = fitted(batches, dtype=torch.float32, optimizer=lambda p: torch.optim.SGD(p, lr=0.0))
    large = fitted([merge(batches)], dtype=torch.float32)
    assert brain.stages[0][1] == pytest.approx(large.stages[0][1], rel=1e-6)


def test_clipping_is_joint_over_groups_and_optimizers():
    brain, _ = make_brain(run_opts={"max_grad_norm": 0.001})
    net = brain.modules.net
    brain.optimizers_dict = {
        "a": torch.optim.SGD([{"params": [net.out.bias]}, {"params": [net.out.weight]}], lr=1.0),
        "b": torch.optim.SGD(net.rnn.parameters(), lr=1.0),
    }
    before = weights(brain)
    brain.step = 1
    brain.fit_batch(make_batches([4])[0])
    assert (weights(brain) - before).norm().item() == pytest.approx(0.001, rel=1e-3)


@pytest.mark.parametrize("bound", [0, -1.0, float("nan"), "5"])
def test_clipping_bound_that_is_not_positive_is_refused(bound):
    with pytest.raises(ValueError, match="max_grad_norm"):
        make_brain(run_opts={"max_grad_norm": bound})


def spoiled(sizes, bad):
    batches = make_batches(sizes)
    for number in bad:
        batches[number].x[0, 0, 0] = math.nan
    return batches


def test_nonfinite_loss_skips_the_update_and_keeps_weights_finite():
    brain = fitted(spoiled([2, 2, 2, 2], bad=[1]), dtype=torch.float32)
    assert [r.is_applied for r in brain.reports] == [True, False, True, True]
    assert brain.optimizer_step == 3
    assert brain.nonfinite.num_skipped == 1
    assert weights(brain).isfinite().all()
    assert math.isfinite(brain.stages[0][1])


def test_nonfinite_in_a_row_raises_with_batch_ids_also_across_epochs():
    batches = spoiled([2, 2], bad=[0, 1])
    brain, counter = make_brain(epochs=5, run_opts={"nonfinite_patience": 3})
    with pytest.raises(
        NonFiniteError, match=r"4 attempts in a row.*utt-0-0.*nonfinite_patience = 3"
    ):
        brain.fit(counter, ToyLoader(batches))
    assert len(brain.reports) == 3


def test_nonfinite_count_starts_anew_after_a_good_update():
    brain, counter = make_brain(epochs=4, run_opts={"nonfinite_patience": 1})
    brain.fit(counter, ToyLoader(spoiled([2, 2], bad=[0])))
    assert brain.nonfinite.num_skipped == 4


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (torch.tensor(1.0, requires_grad=True), "expected LossSum"),
        (LossSum(torch.ones(2, requires_grad=True), 2), "scalar"),
        (LossSum(torch.ones((), requires_grad=True).bfloat16(), 2), "float32"),
        (LossSum(torch.ones((), requires_grad=True), 2.0), "count is float"),
        (LossSum(torch.ones((), requires_grad=True), -1), "-1"),
        (LossSum(torch.ones(()), 0), "total \\* 0"),
    ],
)
def test_loss_that_breaks_the_contract_is_refused(returned, message):
    brain, counter = make_brain()
    brain.compute_objectives = lambda *_: returned
    with pytest.raises((TypeError, ValueError), match=message):
        brain.fit(counter, ToyLoader(make_batches([2])))


def test_no_sync_is_put_back_after_an_exception():
    brain, _ = make_brain()
    brain.modules.net.require_backward_grad_sync = True
    with pytest.raises(KeyError), brain.no_sync():
        assert not brain.modules.net.require_backward_grad_sync
        raise KeyError
    assert brain.modules.net.require_backward_grad_sync


def test_frozen_optimizer_parameters_do_not_gather_gradients():
    brain, _ = make_brain()
    net = brain.modules.net
    brain.optimizers_dict = {
        "a": torch.optim.SGD(net.out.parameters(), lr=0.1),
        "b": torch.optim.SGD(net.rnn.parameters(), lr=0.1),
    }
    brain.freeze_optimizers = lambda optimizers: {"a": optimizers["a"]}
    brain.step = 1
    brain.fit_batch(make_batches([4])[0])
    assert all(parameter.grad is None for parameter in net.parameters())


def test_gradients_shared_by_groups_are_listed_once():
    layer = nn.Linear(2, 2)
    layer.weight.grad = torch.ones(2, 2)
    optimizers = [torch.optim.SGD([layer.weight], lr=1.0), torch.optim.SGD([layer.weight], lr=1.0)]
    assert len(gradients(optimizers)) == 1


def test_bf16_forward_trains_with_a_float32_loss():
    brain, counter = make_brain(epochs=1, run_opts={"precision": "bf16"})
    brain.compute_objectives = lambda p, batch, stage: LossSum(
        (p["y"].float() - batch.y).square().sum(), len(batch.y)
    )
    brain.fit(counter, ToyLoader(make_batches([2, 3])))
    assert brain.optimizer_step == 2
    assert math.isfinite(brain.train_loss)


def scaled(batches, *, scale, dtype=F64, **run_opts):
    # The scaler that SpeechBrain switches on for fp16 on CUDA also works on CPU tensors.
    brain, counter = make_brain(epochs=1, dtype=dtype, run_opts=run_opts)
    brain.scaler = torch.GradScaler("cpu", init_scale=scale)
    brain.fit(counter, ToyLoader(batches))
    return brain


def test_gradient_scaler_changes_nothing():
    batches = make_batches([2, 3, 1, 4], dtype=F64)
    run_opts = {"grad_accumulation_factor": 2, "max_grad_norm": 0.1}
    with_scaler = scaled(batches, scale=2.0**10, **run_opts)
    assert torch.allclose(
        weights(with_scaler), weights(fitted(batches, factor=2, run_opts=run_opts))
    )


def test_gradient_overflow_lowers_the_scale_and_is_no_update_nor_a_fault():
    batches = make_batches([2] * 12)
    for batch in batches:
        batch.y *= 1e4
    brain = scaled(batches, scale=2.0**127, dtype=torch.float32, nonfinite_patience=0)
    applied = [report.is_applied for report in brain.reports]
    assert not applied[0]
    assert 0 < brain.optimizer_step == sum(applied) < 12
    assert (brain.nonfinite.in_a_row, brain.nonfinite.num_skipped) == (0, 12 - sum(applied))


def test_nonfinite_loss_counts_also_with_a_scaler():
    with pytest.raises(NonFiniteError):
        scaled([*make_batches([2], dtype=F64), nan_batch()], scale=1024.0, nonfinite_patience=0)


def nan_batch():
    batch = make_batches([2], dtype=F64)[0]
    batch.x[:] = math.nan
    return batch


@pytest.fixture
def switches():
    """PyTorch's two switches of TF32, put back afterwards."""
    both = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [switch.allow_tf32 for switch in both]
    yield both
    for switch, was_allowed in zip(both, before, strict=True):
        switch.allow_tf32 = was_allowed


@pytest.mark.parametrize("is_allowed", [True, False])
def test_run_file_decides_whether_float32_may_be_tf32(switches, is_allowed):
    for switch in switches:
        switch.allow_tf32 = not is_allowed
    make_brain()
    assert [switch.allow_tf32 for switch in switches] == [not is_allowed] * 2
    make_brain(hparams={"allow_tf32": is_allowed})
    assert [switch.allow_tf32 for switch in switches] == [is_allowed] * 2
