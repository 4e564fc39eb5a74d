"""Workers compute gradients where the parameters are expected to be when the step is added."""

from functools import partial

import pytest
import torch
from torch import nn

from hogwild.counters import Counters
from hogwild.options import HogwildOptions
from hogwild.pushing import Pusher, momentum_of
from hogwild.shared import LocalCopy, SharedModel
from tests.unit.recipes.common.toy import Net, make_batches, make_brain

MOMENTUM, RATE = 0.9, 0.1


def flat(params) -> torch.Tensor:
    return torch.cat([param.detach().flatten().clone() for param in params])


@pytest.mark.parametrize("num_workers", [2, 4])
@pytest.mark.parametrize("lookahead", [0.0, 0.5, 1.0])
def test_gradient_is_that_of_parameters_ahead_and_the_step_is_added_to_the_shared_ones(
    num_workers, lookahead
):
    optimizer = partial(torch.optim.SGD, lr=RATE, momentum=MOMENTUM)
    brains = [make_brain(optimizer=optimizer)[0] for _ in range(2)]
    for brain in brains:
        brain.init_optimizers()
    how = HogwildOptions(num_workers=num_workers, lookahead=lookahead, staleness_power=0.0)
    shared = SharedModel(brains[0].modules, brains[0].optimizers_dict, how)
    counters, (one, other) = Counters(num_workers), brains
    for number, brain in enumerate(brains):
        Pusher(brain, shared, counters, worker=number, options=how)
    params = next(iter(shared.params.values()))
    batches, seen = make_batches([4, 3, 5]), []
    before = params.clone()
    one.fit_batch(batches[0])
    step = params - before
    assert step.norm() > 0
    other.fit_batch(batches[1])
    shared_now = params.clone()
    forward = one.compute_forward

    def forward_while_the_other_pushes(*given):
        seen.append(flat(one.modules.parameters()))
        other.fit_batch(batches[1])
        return forward(*given)

    one.compute_forward = forward_while_the_other_pushes
    one.fit_batch(batches[2])
    reach = lookahead * MOMENTUM * (num_workers - 1)
    ahead = shared.params_layout.views({params.dtype: shared_now + reach * step})
    assert torch.allclose(seen[0], flat(ahead), atol=1e-6)
    moments = [one.optimizer.state[p]["momentum_buffer"] for p in one.modules.parameters()]
    others = [other.optimizer.state[p]["momentum_buffer"] for p in other.modules.parameters()]
    found = flat(shared.params_layout.views({params.dtype: params - shared_now}))
    assert torch.allclose(found, -RATE * (flat(moments) + flat(others)), atol=1e-6)


def distance_after_turns(curvature: float, num_workers: int, lookahead: float) -> float:
    """Return how far from its minimum w^2 curvature / 2 is after workers took turns for long."""
    nets = [nn.ParameterDict({"w": nn.Parameter(torch.ones(1).double())}) for _ in range(4)]
    nets = nets[:num_workers]
    # With this dampening the buffer is a running mean, as Adam's.
    make = partial(torch.optim.SGD, lr=1.0, momentum=MOMENTUM, dampening=MOMENTUM)
    optimizers = [make(net.parameters()) for net in nets]
    for optimizer in optimizers:
        for param in optimizer.param_groups[0]["params"]:
            optimizer.state[param]["momentum_buffer"] = torch.zeros_like(param)
    shared = SharedModel(nets[0], {}, HogwildOptions(num_workers=num_workers))
    reach = lookahead * MOMENTUM * (num_workers - 1)
    locals_ = [LocalCopy(shared, net, lookahead=reach) for net in nets]
    for turn in range(1500 * num_workers):
        worker = turn % num_workers
        param = nets[worker]["w"]
        param.grad = curvature * param.detach().clone()  # read before all others' last pushes
        optimizers[worker].step()
        locals_[worker].push()
        locals_[worker].pull()
    return float(shared.params[torch.float64].abs().max())


@pytest.mark.parametrize(("num_workers", "low", "high"), [(2, 1.5, 8.0), (4, 0.5, 3.5)])
def test_looking_ahead_bears_several_times_the_rate(num_workers, low, high):
    """Below each threshold the turns come to rest, above that without lookahead they do not."""
    assert distance_after_turns(low, num_workers, 0.0) < 1e-3
    assert not distance_after_turns(high, num_workers, 0.0) < 1e3
    assert distance_after_turns(high, num_workers, 1.0) < 1e-3


def test_an_update_after_one_that_was_left_out_does_not_look_ahead():
    net = nn.ParameterDict({"w": nn.Parameter(torch.ones(3))})
    shared = SharedModel(net, {}, HogwildOptions())
    local, (params,) = LocalCopy(shared, net, lookahead=0.5), shared.params.values()
    with torch.no_grad():
        net["w"].add_(2.0)
        local.push()
        local.pull()
        assert torch.equal(net["w"], torch.full((3,), 1 + 2 + 0.5 * 2))
        local.pull()  # the gradient was not finite
        assert torch.equal(net["w"], torch.full((3,), 3.0))
        net["w"].sub_(1.0)
        local.push()
        local.pull()
    assert torch.equal(net["w"], torch.full((3,), 2 - 0.5))
    assert torch.equal(params[:3], torch.full((3,), 2.0))


def test_a_copy_is_made_only_to_look_ahead():
    def local_of(kind, **options):
        brain, _ = make_brain(optimizer=kind)
        brain.init_optimizers()
        how = HogwildOptions(**options)
        shared = SharedModel(brain.modules, brain.optimizers_dict, how)
        return Pusher(brain, shared, Counters(2), worker=0, options=how)._local

    adam, plain = partial(torch.optim.Adam, lr=RATE), partial(torch.optim.SGD, lr=RATE)
    assert local_of(adam) is not None
    assert local_of(plain, access="pull_push") is not None
    for kind, options in [(plain, {}), (adam, {"lookahead": 0.0}), (adam, {"num_workers": 1})]:
        assert local_of(kind, **options) is None


def test_momentum_is_the_least_of_all_groups():
    adam = torch.optim.Adam(Net().parameters(), betas=(0.8, 0.99))
    sgd = torch.optim.SGD(Net().parameters(), lr=0.1, momentum=0.7)
    assert momentum_of([adam]) == 0.8
    assert momentum_of([adam, sgd]) == 0.7
    assert momentum_of([adam, torch.optim.Adagrad(Net().parameters())]) == 0.0
    assert momentum_of([]) == 0.0
