"""LAMB by hand, its fast form, the schedule's golden values, the average in closed form."""

import copy

import pytest
import torch

from recipes.LibriSpeech.ASR.transducer.ema import ModelAverage
from recipes.LibriSpeech.ASR.transducer.lamb import LAMB
from recipes.LibriSpeech.ASR.transducer.schedule import EpochDecay


def by_hand(weights, grads_of_steps, *, lr, betas=(0.9, 0.999), eps=1e-9, decay=1e-3, clip=1.0):
    """Return the parameters after each step's gradients, by the formulas, in float64."""
    weights = [w.double().clone() for w in weights]
    m, v = ([torch.zeros_like(w) for w in weights] for _ in range(2))
    for k, grads in enumerate(grads_of_steps, 1):
        norm = torch.sqrt(sum((g.double() ** 2).sum() for g in grads))
        for i, g in enumerate(grads):
            g = g.double() / max(1.0, float(norm) / clip)
            m[i] = betas[0] * m[i] + (1 - betas[0]) * g
            v[i] = betas[1] * v[i] + (1 - betas[1]) * g * g
            u = (m[i] / (1 - betas[0] ** k)) / ((v[i] / (1 - betas[1] ** k)).sqrt() + eps)
            u = u + decay * weights[i]
            w_norm, u_norm = weights[i].norm(), u.norm()
            ratio = w_norm / u_norm if w_norm > 0 and u_norm > 0 else 1.0
            weights[i] = weights[i] - lr * ratio * u
    return weights


def gradients(shapes, steps, scale):
    generator = torch.Generator().manual_seed(0)
    return [[scale * torch.randn(s, generator=generator) for s in shapes] for _ in range(steps)]


def steps_of(optimizer, params, grads_of_steps):
    for grads in grads_of_steps:
        for param, grad in zip(params, grads, strict=True):
            param.grad = grad.clone()
        optimizer.step()


def parameters():
    generator = torch.Generator().manual_seed(1)
    tensors = [
        torch.randn(3, 4, generator=generator),
        torch.zeros(5),
        torch.randn((), generator=generator),
    ]
    return [torch.nn.Parameter(t.clone()) for t in tensors]


SHAPES = [(3, 4), (5,), ()]


@pytest.mark.parametrize("scale", [0.01, 10.0], ids=["unclipped", "clipped"])
@pytest.mark.parametrize("foreach", [True, False])
def test_lamb_equals_the_formulas(scale, foreach):
    params, grads = parameters(), gradients(SHAPES, 3, scale)
    expected = by_hand([p.detach() for p in params], grads, lr=0.02)
    steps_of(LAMB(params, lr=0.02, max_norm=1.0, foreach=foreach), params, grads)
    for param, value in zip(params, expected, strict=True):
        assert torch.allclose(param.double(), value, rtol=1e-5, atol=1e-7)


def test_lamb_first_step_of_one_number_by_hand():
    # m / (1 - b1) = g, sqrt(v / (1 - b2)) = |g|: the step is sign(g) + wd w = 1.002;
    # ratio 2 / 1.002; w = 2 - 0.1 * 2 = 1.8.
    param = torch.nn.Parameter(torch.tensor([2.0]))
    param.grad = torch.tensor([0.5])
    LAMB([param], lr=0.1).step()
    assert param.item() == pytest.approx(1.8, abs=1e-6)


def test_lamb_of_a_zero_tensor_takes_the_plain_step():
    param = torch.nn.Parameter(torch.zeros(1))
    param.grad = torch.tensor([0.5])
    LAMB([param], lr=0.1).step()
    assert param.item() == pytest.approx(-0.1, abs=1e-6)


def test_lamb_all_at_once_equals_one_by_one():
    both = [parameters(), parameters()]
    grads = gradients(SHAPES, 5, 1.0)
    for params, foreach in zip(both, (True, False), strict=True):
        steps_of(LAMB(params, lr=0.05, foreach=foreach), params, grads)
    for one, other in zip(*both, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_lamb_goes_on_from_its_state():
    grads = gradients(SHAPES, 6, 1.0)
    whole = parameters()
    steps_of(LAMB(whole, lr=0.05), whole, grads)
    params = parameters()
    first = LAMB(params, lr=0.05)
    steps_of(first, params, grads[:3])
    second = LAMB(params, lr=0.9)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    steps_of(second, params, grads[3:])
    for one, other in zip(whole, params, strict=True):
        assert torch.equal(one, other)


def test_lamb_options_out_of_range_are_told_together():
    with pytest.raises(ValueError, match=r"lr is -1.*betas are \(0.9, 1.0\).*eps is 0"):
        LAMB(parameters(), lr=-1, betas=(0.9, 1.0), eps=0)


@pytest.mark.parametrize(
    ("number", "rate"),
    [(1, 1.5894e-5), (181, 1.44636e-3), (904, 7.19205e-3), (905, 7.2e-3), (5611, 7.2e-3),
     (5612, 6.624e-3), (8870, 1.47673e-3), (80 * 181, 1.21042e-4), (10**6, 1e-5)],
)  # fmt: skip
def test_schedule_has_the_benchmarks_values(number, rate):
    schedule = EpochDecay(
        peak=0.0072, warmup_epochs=5, hold_epochs=26, gamma=0.92, updates_per_epoch=181
    )
    assert schedule(number - 1) == pytest.approx(rate, rel=1e-5)


def test_schedule_without_length_of_an_epoch_is_refused():
    with pytest.raises(RuntimeError, match="updates_per_epoch is not known"):
        EpochDecay(peak=1.0, warmup_epochs=1, hold_epochs=1, gamma=0.5)(0)


def test_average_equals_the_closed_form():
    model = torch.nn.Linear(3, 2)
    average = ModelAverage(model, decay=0.9)
    values = [model.weight.detach().clone()]
    for step in range(5):
        with torch.no_grad():
            model.weight.add_(step + 1.0)
        values.append(model.weight.detach().clone())
        average.update()
    expected = 0.9**5 * values[0] + sum(
        0.1 * 0.9 ** (5 - k) * value for k, value in enumerate(values[1:], 1)
    )
    assert torch.allclose(average.averages[0], expected, atol=1e-5)


def test_average_all_at_once_equals_one_by_one():
    torch.manual_seed(0)
    model = torch.nn.LSTM(3, 2)
    fast, slow = (ModelAverage(model, decay=0.9, foreach=flag) for flag in (True, False))
    for param in model.parameters():
        param.data.add_(1.0)
    for average in (fast, slow):
        average.update()
    for one, other, param in zip(fast.averages, slow.averages, model.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-7)
        assert torch.allclose(other, param - 0.9, atol=1e-6)


def test_average_is_swapped_in_and_out():
    model = torch.nn.Linear(3, 2)
    before = model.weight.detach().clone()
    average = ModelAverage(model, decay=0.5)
    with torch.no_grad():
        model.weight.add_(1.0)
    average.update()
    with average.in_place():
        assert torch.allclose(model.weight, before + 0.5)
    assert torch.allclose(model.weight, before + 1.0)
    assert torch.allclose(average.averages[0], before + 0.5)


def test_average_is_saved():
    model = torch.nn.Linear(3, 2)
    average = ModelAverage(model, decay=0.5)
    with torch.no_grad():
        model.weight.add_(1.0)
    average.update()
    other = ModelAverage(torch.nn.Linear(3, 2), decay=0.5)
    other.load_state_dict(average.state_dict())
    assert torch.equal(other.averages[0], average.averages[0])
