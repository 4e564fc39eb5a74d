"""The Triton kernels, run by Triton's interpreter on the CPU, equal the loops."""

import json
import os
import subprocess
import sys

import pytest
import torch

from recipes.LibriSpeech.wav2letter import recursions
from tests.conftest import ROOT


@pytest.mark.multiproc
def test_kernels_equal_the_loops():
    pytest.importorskip("triton")
    command = [sys.executable, "-m", "tests.unit.recipes.wav2letter.kernels_worker"]
    env = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    apart = json.loads(done.stdout)
    assert set(apart) == {"full", "chain"}
    assert max(apart.values()) < 1e-12


def test_too_long_target_is_named():
    kernels = pytest.importorskip("recipes.LibriSpeech.wav2letter.asg_kernels")
    with pytest.raises(ValueError, match="a target has 9000 tokens; expected at most 8190"):
        kernels.chain(torch.zeros(1, 1, 9002))


def test_kernels_that_cannot_be_launched_leave_the_loop_and_are_told_once(monkeypatch):
    kernels = pytest.importorskip("recipes.LibriSpeech.wav2letter.asg_kernels")
    told = []

    def no_compiler(*tensors):
        raise RuntimeError("Failed to find C compiler")

    monkeypatch.setattr(kernels, "full", no_compiler)
    monkeypatch.setattr(recursions.logger, "warning", lambda *words: told.append(words))
    recursions.kernels.cache_clear()
    assert [recursions.kernels(torch.device("cpu")) for _ in range(2)] == [None, None]
    recursions.kernels.cache_clear()
    assert len(told) == 1
    assert "Failed to find C compiler" in str(told[0][-1])
