"""A rate that follows validation is that of the checkpoint's end, not that of its last update."""

import pytest
import torch
from speechbrain.nnet.schedulers import StepScheduler

from tests.unit.hogwild.toy_run import Toy, train
from tests.unit.recipes.common.toy import weights

pytestmark = pytest.mark.multiproc


def halving() -> Toy:
    return Toy({"hparams": {"valid_schedule": StepScheduler(0.02, 0.5, 1)}}, rate=0.02)


def test_one_worker_goes_on_at_the_rate_that_validation_has_set(tmp_path):
    straight = train(halving(), epochs=3).brain
    train(halving(), folder=tmp_path, epochs=1)
    resumed = train(halving(), folder=tmp_path, epochs=3).brain
    assert resumed.reports == straight.reports[-len(resumed.reports) :]
    assert torch.equal(weights(straight), weights(resumed))


def test_two_workers_go_on_at_the_rate_that_validation_has_set(tmp_path):
    first = train(halving(), folder=tmp_path, epochs=1, num_workers=2).brain
    rate = first.optimizer.param_groups[0]["lr"]
    assert rate < 0.02
    resumed = train(halving(), folder=tmp_path, epochs=2, num_workers=2).brain
    assert {report.rate for report in resumed.reports} == {rate}
