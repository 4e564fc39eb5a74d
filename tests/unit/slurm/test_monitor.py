"""What slurm/monitor.sh notes beside a job."""

import os
import subprocess

import pytest

from tests.conftest import ROOT

SCRIPT = """
set -euo pipefail
source slurm/monitor.sh
start_monitor
for _ in $(seq 600); do
    if grep -q "memory MiB" "$STAMPEDE_LOGS/monitor-7.txt" 2>/dev/null; then break; fi
    sleep 0.1
done
stop_monitor
! kill -0 "$monitor_pid" 2>/dev/null
"""


@pytest.mark.parametrize("has_gpustat", [True, False])
def test_monitor_notes_gpus_and_memory_and_ends(tmp_path, has_gpustat):
    if has_gpustat:
        gpustat = tmp_path / "gpustat"
        gpustat.write_text('#!/bin/sh\necho "[0] a GPU, 93 %, $*"\n')
        gpustat.chmod(0o755)
    settings = {"PYTHON": f"{tmp_path}/python", "STAMPEDE_LOGS": str(tmp_path)}
    settings |= {"SLURM_JOB_ID": "7", "MONITOR_EVERY_S": "600"}
    subprocess.run(
        ["bash", "-c", SCRIPT], cwd=ROOT, env={**os.environ, **settings}, check=True, timeout=120
    )
    text = (tmp_path / "monitor-7.txt").read_text()
    assert ("[0] a GPU, 93 %, --no-color --no-header" in text) == has_gpustat
    assert "load" in text
    assert "memory MiB: used" in text
