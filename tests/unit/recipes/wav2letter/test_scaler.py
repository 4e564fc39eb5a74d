"""The loss scale of the original recipes."""

import pytest
import torch

from recipes.common.update import LOSS_UNIT
from recipes.LibriSpeech.wav2letter.scaler import RetryScaler, ScaleError


def make() -> tuple[RetryScaler, torch.optim.SGD]:
    return RetryScaler(), torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1)


def attempt(scaler: RetryScaler, optimizer: torch.optim.SGD, *, is_good: bool = True) -> None:
    if is_good:
        scaler.step(optimizer)
    scaler.update()


def test_trace_without_faults():
    scaler, optimizer = make()
    trace = {}
    for update in range(1, 4101):
        attempt(scaler, optimizer)
        trace[update] = scaler.get_scale()
    assert (trace[1], trace[1998], trace[1999]) == (4098, 8092, 16184)
    assert (trace[3998], trace[3999], trace[4100]) == (20182, 40364, 40364)


def test_faults_halve_and_start_the_count_anew():
    scaler, optimizer = make()
    for _ in range(3):
        attempt(scaler, optimizer)
    found = []
    for is_good in (False, False, False, True):
        attempt(scaler, optimizer, is_good=is_good)
        found.append(scaler.get_scale())
    assert found == [2051, 1025, 512, 514]
    assert (scaler.count, scaler.num_retries) == (2, 3)


def test_floor_raises_instead_of_stepping():
    scaler, optimizer = make()
    for _ in range(12):
        attempt(scaler, optimizer, is_good=False)
    assert scaler.get_scale() == 1
    with pytest.raises(ScaleError, match="at a loss scale of 1"):
        attempt(scaler, optimizer, is_good=False)


def test_scaling_is_undone_exactly():
    scaler, optimizer = make()
    param = optimizer.param_groups[0]["params"][0]
    loss = (param * torch.tensor([3.0, -2.0])).sum()
    scaled = scaler.scale(loss / LOSS_UNIT)
    assert scaled.item() == 4096 * loss.item()  # as in the original: of the sum over utterances
    scaled.backward()
    scaler.unscale_(optimizer)
    assert (param.grad * LOSS_UNIT).tolist() == [3.0, -2.0]


def test_state_is_saved(tmp_path):
    scaler, optimizer = make()
    attempt(scaler, optimizer)
    attempt(scaler, optimizer, is_good=False)
    scaler._save(tmp_path / "state")
    again = RetryScaler()
    again._recover(tmp_path / "state", False)
    assert (again.value, again.count, again.num_retries) == (2049, 1, 1)


def test_wrong_values_are_named():
    with pytest.raises(ValueError, match="initial 0, interval 2000"):
        RetryScaler(initial=0)
