"""Arms of a comparison of precisions: names, switches, what a device has."""

import pytest
import torch

from comparing.arms import Arm, check_device, make_arms, order_of


def test_arms_of_one_kind_get_names_of_their_own():
    arms = make_arms(["fp32", "bf16", "fp32"], delay_ms=5.0)
    assert [arm.name for arm in arms] == ["fp32", "bf16", "fp32 (2) + sleep"]
    assert [arm.delay_s for arm in arms] == [0.0, 0.0, 0.005]
    assert Arm("tf32", "tf32").precision == "fp32"


def test_arms_tell_all_faults():
    with pytest.raises(ValueError, match=r"'fp8' is unknown.*1 given.*delay_ms is -1"):
        make_arms(["fp8"], delay_ms=-1)


def test_arms_that_need_a_gpu_are_refused_on_a_cpu():
    arms = make_arms(["fp32", "fp16", "tf32"])
    with pytest.raises(ValueError, match="fp16, tf32 need a CUDA device, this is cpu"):
        check_device(arms, "cpu")
    check_device(arms, "cuda:1")
    check_device(arms[:1], "cpu")


@pytest.mark.parametrize("kind", ["fp32", "tf32"])
def test_switches_are_set_and_put_back(kind):
    def now():
        return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32

    before = now()
    with pytest.raises(KeyError), Arm("a", kind).switches():
        assert now() == (kind == "tf32",) * 2
        raise KeyError
    assert now() == before


def test_order_turns_round_within_and_between_units():
    arms = make_arms(["fp32", "bf16"])
    orders = ["".join(arm.name[0] for arm in order_of(arms, unit)) for unit in range(3)]
    assert orders == ["fbbf", "bffb", "fbbf"]
    three = make_arms(["fp32", "tf32", "bf16"])
    assert [arm.name[0] for arm in order_of(three, 0)] == list("ftbbtf")
