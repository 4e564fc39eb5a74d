"""The wav2letter benchmarks in their smallest form, on CPU."""

import json

import pytest
import torch

from benchmarks import asg, wav2letter_gpu

QUICK = ["--quick", "--device", "cpu"]


def test_criterion_equals_the_loop(tmp_path):
    sizes = ["--batch", "2", "--frames", "40", "--tokens", "6", "--length", "9"]
    threads = torch.get_num_threads()
    try:
        assert asg.main([*sizes, "--repeats", "1", "--results", str(tmp_path)]) == 0
    finally:
        torch.set_num_threads(threads)
    (path,) = tmp_path.glob("*-asg-cpu.json")
    record = json.loads(path.read_text())
    assert record["apart"]["loss"] < 1e-6
    assert record["apart"]["emissions"] < 1e-6
    assert record["apart"]["transitions"] < 1e-5
    assert "Ratio of a step" in path.with_suffix(".md").read_text()


def test_checks_for_gpus_run_on_cpu_in_small(tmp_path, monkeypatch):
    monkeypatch.setattr(wav2letter_gpu, "MAX_APART", 1.0)  # of six updates
    monkeypatch.delitem(wav2letter_gpu.CHECKS, "An overflow on one rank")  # see below
    assert wav2letter_gpu.main([*QUICK, "--results", str(tmp_path)]) == 0
    (path,) = tmp_path.glob("*-wav2letter-cpu.json")
    checks = json.loads(path.read_text())["checks"]
    assert len(checks) == 5
    dtypes = [row["seen"] for row in checks["Precision of each part"]]
    assert "torch.bfloat16" in dtypes[0]
    assert checks["Scales that begin too high"][0]["updates"] == 6


@pytest.mark.slow
@pytest.mark.multiproc
def test_overflow_on_one_rank_is_tried_again_on_two_cpu_ranks():
    (row,) = wav2letter_gpu.check_ranks(wav2letter_gpu.parse(QUICK))
    assert row == {"what": "two ranks, cpu", "is_good": True, "retries": "[1, 1]"}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_criterion_on_a_gpu_equals_that_on_the_cpu():
    args = {"batch": 3, "frames": 120, "tokens": 30, "length": 40}
    grads = {}
    for device in ("cpu", "cuda"):
        given = asg.problem(type("Args", (), {**args, "device": device}))
        row = asg.measure(given, asg.ours)
        grads[device] = [row["loss"], *(grad.cpu() for grad in row["grads"])]
    assert grads["cuda"][0] == pytest.approx(grads["cpu"][0], rel=1e-6)
    for ours, theirs in zip(grads["cuda"][1:], grads["cpu"][1:], strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)
