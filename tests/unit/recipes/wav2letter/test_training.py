"""The rules of training: groups, clipping, phases, overflows that are tried again."""

import pytest
import torch
from speechbrain import Stage

from recipes.common.update import NonFiniteError
from recipes.LibriSpeech.wav2letter.scaler import RetryScaler, ScaleError
from tests.unit.recipes.common.toy import ToyLoader
from tests.unit.recipes.wav2letter.toy import PHASE, batches, make_brain, weights

SIZES = [2, 3, 1, 2]


def fit(brain, counter, *, sizes=SIZES):
    brain.fit(counter, ToyLoader(batches(sizes)), ToyLoader(batches([2])))
    return weights(brain)


def gradient(brain, batch) -> torch.Tensor:
    """Return the gradient of the batch's mean loss, by plain autograd."""
    loss = brain.modules.criterion(brain.modules.net(batch.x).flatten(1).sum(1), batch.y) / len(
        batch.y
    )
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, brain.modules.parameters())])


def one_update(brain, batch) -> torch.Tensor:
    """Return the change of the parameters by one update."""
    before = weights(brain)
    brain.init_optimizers()
    brain.on_stage_start(Stage.TRAIN, 1)
    batch.ends_epoch = True
    brain.fit_batch(batch)
    return weights(brain) - before


def test_update_clips_the_joint_norm_at_each_groups_rate():
    brain, _ = make_brain(phases=[{**PHASE, "max_grad_norm": 0.1}])
    batch = batches([3])[0]
    grad = gradient(brain, batch)
    rates = torch.tensor(
        [*[0.05] * (len(grad) - 1), 0.02]
    ).double()  # the criterion's shift is the last
    expected = -rates * grad * 0.1 / grad.norm()
    assert grad.norm() > 0.2
    assert torch.allclose(one_update(brain, batch), expected, rtol=1e-5, atol=1e-9)


def test_linear_segmentation_clips_the_network_alone():
    brain, _ = make_brain(phases=[{**PHASE, "max_grad_norm": 0.1, "linseg_epochs": 1}])
    batch = batches([3])[0]
    grad = gradient(brain, batch)
    network = -0.05 * grad[:-1] * 0.1 / grad[:-1].norm()
    expected = torch.cat([network, -0.02 * grad[-1:]])
    assert torch.allclose(one_update(brain, batch), expected, rtol=1e-5, atol=1e-9)


def test_nominal_batch_divides_instead_of_the_number_of_utterances():
    batch = batches([3])[0]
    brain, _ = make_brain(hparams={"nominal_batch": 4})
    by_four = one_update(brain, batch)
    brain, _ = make_brain()
    assert torch.allclose(by_four * 4, one_update(brain, batch) * 3, atol=1e-9)


def test_criterion_has_no_momentum():
    brain, counter = make_brain()
    fit(brain, counter)
    network, criterion = brain.optimizer.param_groups
    assert (network["momentum"], criterion["momentum"]) == (0.8, 0.0)
    state = brain.optimizer.state
    assert all(state[p]["momentum_buffer"] is not None for p in network["params"])
    assert not any(state[p].get("momentum_buffer") is not None for p in criterion["params"])


def test_momentum_is_forgotten_after_linear_segmentation():
    seen = []
    brain, counter = make_brain(phases=[{**PHASE, "linseg_epochs": 1}], epochs=3)
    forget = brain.forget_momentum
    brain.forget_momentum = lambda: (forget(), seen.append(brain.epoch))
    fit(brain, counter)
    assert seen == [2]
    brain.forget_momentum = forget
    brain.forget_momentum()
    buffers = [s["momentum_buffer"] for s in brain.optimizer.state.values() if s]
    assert not any(b.any() for b in buffers if b is not None)


def test_rates_follow_the_phases():
    phases = [{**PHASE, "num_epochs": 1}, {**PHASE, "lr": 0.01, "step_epochs": 1, "gamma": 0.5}]
    brain, counter = make_brain(phases=phases, epochs=3)
    fit(brain, counter, sizes=[2])
    assert [report.rate for report in brain.reports] == [0.05, 0.01, 0.005]


def test_resumed_run_equals_an_unbroken_one(tmp_path):
    clipped = {**PHASE, "max_grad_norm": 0.1}
    phases = [{**clipped, "num_epochs": 3, "linseg_epochs": 3}, {**clipped, "lr": 0.01}]
    straight = fit(*make_brain(phases=phases, epochs=4))
    shorter = [{**phases[0], "linseg_epochs": 2}, phases[1]]
    assert not torch.allclose(fit(*make_brain(phases=shorter, epochs=4)), straight, atol=1e-4)
    for epochs in (2, 4):
        brain, counter = make_brain(folder=tmp_path, phases=phases, epochs=epochs)
        brain.use_scaler(RetryScaler())
        resumed = fit(brain, counter)
    assert torch.allclose(resumed, straight, rtol=0, atol=1e-10)
    assert brain.scaler.get_scale() == 4096 + 2 * 4 * len(SIZES)


def with_scaler(**options):
    brain, counter = make_brain(**options)
    brain.use_scaler(RetryScaler())
    return brain, counter


@pytest.mark.parametrize("factor", [1, 3])
def test_updates_that_overflow_are_tried_again(factor):
    run_opts = {"grad_accumulation_factor": factor}
    expected = fit(*make_brain(run_opts=run_opts))
    brain, counter = with_scaler(run_opts=run_opts)
    brain.poison = {2: "net", 5: "criterion", 9: "loss"}
    found = fit(brain, counter)
    assert torch.allclose(found, expected, rtol=0, atol=1e-10)
    assert brain.scaler.num_retries == 3
    assert brain.num_utterances == 2 * sum(SIZES)
    assert brain.nonfinite.num_skipped == 3


def test_overflow_at_the_floor_raises_and_steps_not():
    brain, counter = with_scaler()
    brain.poison = dict.fromkeys(range(1, 50), "criterion")
    before = weights(brain)
    with pytest.raises(ScaleError, match="loss scale of 1"):
        fit(brain, counter)
    assert torch.equal(weights(brain), before)
    assert brain.num_attempts == 13


def test_loss_that_stays_infinite_names_its_batch():
    brain, counter = with_scaler()
    brain.poison = dict.fromkeys(range(1, 50), "loss")
    with pytest.raises(NonFiniteError, match="utt-0-0"):
        fit(brain, counter)


def test_last_group_is_repeated_whole_without_marks_of_the_loader():
    results = []
    for poison in ({}, {4: "net"}):
        brain, counter = with_scaler(run_opts={"grad_accumulation_factor": 2}, epochs=1)
        brain.poison = poison
        brain.fit(counter, ToyLoader(batches([2, 2, 2, 2]), has_ends=False))
        results.append(weights(brain))
        assert brain.optimizer_step == 2
    assert torch.allclose(*results, rtol=0, atol=1e-10)


def test_unknown_policy_is_named():
    with pytest.raises(ValueError, match="amp_policy: is 'wtl'; expected one of"):
        make_brain(hparams={"amp_policy": "wtl"})
