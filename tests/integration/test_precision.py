"""Training with bfloat16, on CPU; fp16 without a GPU is in test_bad_input.py."""

import math
from pathlib import Path

import pytest
import torch

from tests.integration.commands import SMALL, log_rows, parameters, run, run_json, train_command
from tests.integration.conftest import MainJob

pytestmark = pytest.mark.multiproc


def test_bf16_trains_with_float32_parameters_and_limited_updates(main_job: MainJob, tmp_path: Path):
    options = {**SMALL, "work_folder": main_job.work, "precision": "bf16", "num_warmup": 1}
    options |= {"max_updates": 5, "valid_batch_s": 30, "target_value": 10000.0}
    run(train_command("hparams/train.yaml", tmp_path, **options)).check()
    record = run_json(tmp_path)
    assert (record["precision"], record["updates"]) == ("bf16", 5)
    assert record["updates_skipped"] == 0
    assert 0 < record["target_reached_s"] < record["seconds"]["train"]
    row = log_rows(tmp_path)[-1]
    assert math.isfinite(row["train_loss"])
    assert math.isfinite(row["loss"])
    kinds = {tensor.dtype for tensor in parameters(tmp_path).values() if tensor.is_floating_point()}
    assert kinds == {torch.float32}
