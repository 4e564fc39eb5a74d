"""What lies where if the workers compute on GPUs, as far as it shows without one."""

import pytest
import torch
from torch import nn

from hogwild.optimizer_state import device_of_state
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
