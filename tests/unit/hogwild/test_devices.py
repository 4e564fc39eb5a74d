"""What lies where if the workers compute on GPUs, as far as it shows without one."""

import pytest
import torch
from torch import nn

from hogwild import optimizer_state
from hogwild.optimizer_state import OptimizerStates, device_of_state
from hogwild.options import HogwildOptions
from hogwild.shared import SharedModel


@pytest.mark.parametrize("share_state", ["second", "all"])
def test_states_on_devices_of_each_worker_are_not_shared(share_state):
    net = nn.ModuleDict({"net": nn.Linear(2, 1, device="meta")})  # stands for a GPU
    options = HogwildOptions(access="pull_push", share_state=share_state)
    with pytest.raises(ValueError, match=f"share_state: is '{share_state}' with access pull_push"):
        SharedModel(net, {"adam": torch.optim.Adam(net.parameters())}, options)


@pytest.mark.parametrize(
    ("options", "device"), [({}, "cpu"), ({"capturable": True}, "meta"), ({"fused": True}, "meta")]
)
def test_count_of_steps_lies_where_the_kernel_looks_for_it(options, device):
    params = [nn.Parameter(torch.zeros(1, device="meta")) for _ in range(3)]
    optimizer = torch.optim.Adam([{"params": params[:2]}, {"params": params[2:]}])
    optimizer.param_groups[1].update(options)
    assert device_of_state(optimizer, 2, "step").type == device
    assert device_of_state(optimizer, 1, "step").type == "cpu"
    assert device_of_state(optimizer, 1, "exp_avg").type == "meta"


@pytest.mark.parametrize("share_state", ["all", "second"])
def test_count_of_steps_stays_on_the_cpu_and_is_shared_there(share_state):
    params = [nn.Parameter(torch.zeros(3, device="meta"))]
    states = OptimizerStates(
        {"adam": torch.optim.Adam(params)}, share_state=share_state, num_workers=2, device="meta"
    )
    steps = []
    for worker in range(2):
        adam = torch.optim.Adam(params)
        states.bind({"adam": adam}, worker)
        assert adam.state[params[0]]["exp_avg_sq"].device.type == "meta"
        steps.append(adam.state[params[0]]["step"])
    steps[0] += 1
    assert steps[1].device.type == "cpu"
    assert steps[1].item() == 1.0


@pytest.mark.parametrize("share_state", ["private", "all"])
def test_states_apart_are_saved_and_loaded_like_those_in_one_place(monkeypatch, share_state):
    def after_two_steps() -> OptimizerStates:
        param = nn.Parameter(torch.zeros(3))
        optimizers = {"adam": torch.optim.Adam([param])}
        states = OptimizerStates(optimizers, share_state=share_state, num_workers=2)
        states.bind(optimizers, 1)
        for _ in range(2):
            param.grad = torch.ones(3)
            optimizers["adam"].step()
            states.adopt(optimizers, 1)
        return states

    together = after_two_steps().saved()
    monkeypatch.setattr(optimizer_state, "is_hosted", lambda state, device: state.dim() == 0)
    states = after_two_steps()
    apart = states.saved()
    for one, other in zip(
        [*together.own, together.common], [*apart.own, apart.common], strict=True
    ):
        assert one.keys() == other.keys()
        assert all(torch.equal(flat, other[dtype]) for dtype, flat in one.items())
    states.load(apart)
    assert all(
        torch.equal(one[dtype], other[dtype])
        for one, other in zip(states.saved().own, together.own, strict=True)
        for dtype in one
    )
    param = nn.Parameter(torch.zeros(3))
    fresh = OptimizerStates(
        {"adam": torch.optim.Adam([param])}, share_state=share_state, num_workers=2
    )
    fresh.load(apart)
    adam = torch.optim.Adam([param])
    fresh.bind({"adam": adam}, 1)
    assert adam.state[param]["step"].item() == 2.0
