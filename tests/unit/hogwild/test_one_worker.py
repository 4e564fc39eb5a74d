"""With one worker a run is the plain trainer's, bit for bit."""

import pytest
import torch
from speechbrain.nnet.schedulers import StepScheduler

from tests.unit.hogwild.toy_run import Toy, train
from tests.unit.recipes.common.toy import ToyLoader, make_batches, weights

pytestmark = pytest.mark.multiproc


def assert_equal_states(one, other):
    states, others = (b.optimizer.state_dict()["state"] for b in (one, other))
    assert states.keys() == others.keys()
    for place, state in states.items():
        assert state.keys() == others[place].keys()
        assert all(torch.equal(state[key], others[place][key]) for key in state)


@pytest.mark.parametrize(
    "toy",
    [
        Toy({"dropout": 0.3, "run_opts": {"grad_accumulation_factor": 2}}, schedule=True),
        Toy({"norm": True, "hparams": {"max_updates": 15}}, optimizer="sgd"),
        Toy({"hparams": {"valid_schedule": StepScheduler(0.02, 0.5, 1)}}),
    ],
    ids=["accumulation_schedule_dropout", "batchnorm_momentum_limit", "rate_by_epoch"],
)
def test_one_worker_equals_plain_trainer(toy):
    plain, counter = toy.make()
    plain.fit(counter, ToyLoader(toy.batches().batches), ToyLoader(make_batches([4, 3])))
    ran = train(toy).brain
    assert torch.equal(weights(plain), weights(ran))
    assert ran.stages == [stage for stage in plain.stages if stage[0] != "NEVER"]
    assert ran.reports == plain.reports
    assert ran.optimizer_step == plain.optimizer_step > 10
    assert ran.optimizer.param_groups[0]["lr"] == plain.optimizer.param_groups[0]["lr"]
    assert_equal_states(plain, ran)
