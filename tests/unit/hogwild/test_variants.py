"""Every way to share, lock and read the parameters trains; buffers and random streams are owned."""

from dataclasses import replace

import pytest
import torch

from hogwild.advice import hints
from hogwild.flat import FlatLayout
from hogwild.optimizer_state import OptimizerStates, probe
from hogwild.options import HogwildOptions
from tests.unit.hogwild.toy_run import Toy, falling, make_noting_trainee, train
from tests.unit.recipes.common.toy import Net, ToyLoader, make_batches, weights

pytestmark = pytest.mark.multiproc
LONG = Toy({"norm": True}, sizes=tuple([4, 3, 5, 2] * 8), rate=0.01)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"share_state": "second"},
        {"share_state": "all", "lock": "flock"},
        {"lookahead": 0.0},
        {"access": "pull_push", "staleness_power": 0.5},
        {"drain": True},
        {"evaluation": "instead"},
    ],
    ids=lambda options: "-".join(map(str, options.values())) or "default",
)
def test_two_workers_learn(options):
    assert_has_learnt(train(LONG, epochs=6, num_workers=2, **options))


@pytest.mark.parametrize("share_state", ["private", "all"])
@pytest.mark.parametrize(("optimizer", "rate"), [("adamw", 0.01), ("sgd", 0.02)])
def test_two_workers_learn_by_other_optimizers(optimizer, rate, share_state):
    toy = replace(LONG, optimizer=optimizer, rate=rate)
    ran = train(toy, epochs=6, num_workers=2, share_state=share_state)
    assert_has_learnt(ran)
    key = "exp_avg" if optimizer == "adamw" else "momentum_buffer"
    moments = [state[key] for state in ran.brain.optimizer.state.values()]
    assert len(moments) == len(list(ran.brain.modules.parameters()))
    assert all(moment.abs().sum() > 0 for moment in moments)
    assert torch.isfinite(weights(ran.brain)).all()


def assert_has_learnt(ran):
    losses = [loss for stage, loss in ran.brain.stages if stage == "VALID"]
    assert len(losses) == 6
    assert min(losses) < 0.7 * losses[0]  # the last one is noisy
    assert ran.brain.optimizer_step == 6 * 32
    assert min(ran.figures[-1]["updates_by_worker"]) > 0


def test_one_worker_that_pulls_and_pushes_is_the_plain_trainer_but_for_rounding():
    toy = Toy()
    plain, counter = toy.make()
    plain.fit(counter, ToyLoader(toy.batches().batches), ToyLoader(make_batches([4])))
    ran = train(toy, access="pull_push")
    assert torch.allclose(weights(plain), weights(ran.brain), atol=1e-6)


@pytest.mark.parametrize("share_state", ["second", "all"])
def test_one_worker_with_shared_state_is_the_plain_trainer(share_state):
    toy = Toy()
    plain, counter = toy.make()
    plain.fit(counter, ToyLoader(toy.batches().batches), ToyLoader(make_batches([4])))
    assert torch.equal(weights(plain), weights(train(toy, share_state=share_state).brain))


def test_workers_have_other_random_streams_and_only_the_first_has_the_buffers(tmp_path):
    ran = train(
        LONG, epochs=2, num_workers=3, factory=make_noting_trainee, arguments=(str(tmp_path),)
    )
    notes = [torch.load(path, weights_only=True) for path in sorted(tmp_path.iterdir())]
    assert len(notes) == 3
    assert len({float(note["drawn"]) for note in notes}) == 3
    means = [note["mean"] for note in notes]
    owned = ran.brain.modules.net.norm.running_mean
    assert torch.equal(means[0], owned)
    assert not torch.equal(means[1], owned)
    counted = [int(note["num_batches"]) for note in notes]
    assert counted[0] == ran.brain.modules.net.norm.num_batches_tracked
    assert counted == ran.figures[-1]["updates_by_worker"]


def test_rate_of_every_update_is_that_of_all_workers_updates():
    toy = Toy(sizes=tuple([4] * 32), schedule=True)
    ran = train(toy, epochs=2, num_workers=3, report_every=1)
    reports = ran.brain.reports
    assert len(reports) == 64
    assert {report.number for report in reports} <= set(range(1, 65))
    assert max(report.number for report in reports) > 40
    assert [r.rate for r in reports] == pytest.approx([falling(r.number - 1) for r in reports])


def test_epochs_and_their_validations_are_the_parents():
    ran = train(LONG, epochs=3, num_workers=3)
    assert [figures["epoch"] for figures in ran.figures] == [1, 2, 3]
    assert [stage for stage, _ in ran.brain.stages] == ["TRAIN", "VALID"] * 3
    assert all(len(figures["updates_per_s_by_worker"]) == 3 for figures in ran.figures)
    assert sum(ran.figures[-1]["updates_by_worker"]) == 3 * 32


def test_average_is_validated_with_its_own_parameters():
    seen = []
    ran = train(
        LONG,
        epochs=2,
        num_workers=2,
        ema_decay=0.9,
        ema_every=1,
        validate_average=lambda brain: seen.append(weights(brain)),
    )
    assert len(seen) == 2
    assert not torch.equal(seen[-1], weights(ran.brain))
    assert torch.allclose(seen[-1], weights(ran.brain), atol=0.5)


@pytest.mark.parametrize(
    ("kind", "momentum", "options", "num"),
    [
        (torch.optim.Adam, {}, {"num_workers": 9, "lookahead": 0.0}, 0),
        (torch.optim.SGD, {"momentum": 0.9}, {"num_workers": 1, "lookahead": 0.0}, 0),
        (torch.optim.SGD, {"momentum": 0.9}, {"num_workers": 3, "lookahead": 0.0}, 2),
        (torch.optim.SGD, {"momentum": 0.9}, {"num_workers": 3}, 1),
    ],
)
def test_what_goes_wrong_is_told(kind, momentum, options, num):
    net = Net()
    optimizers = [kind(net.parameters(), lr=0.1, **momentum)]
    assert len(list(hints(net, optimizers, HogwildOptions(**options)))) == num


def test_options_tell_all_faults_at_once():
    with pytest.raises(ValueError, match=r"share_state.*num_workers.*ema_decay"):
        HogwildOptions(num_workers=0, share_state="some", ema_decay=1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD])
def test_probe_leaves_the_optimizer_as_it_is(kind):
    net = Net()
    before = [param.clone() for param in net.parameters()]
    optimizer = kind(net.parameters(), lr=0.1)
    found = probe(optimizer, "optimizer")
    assert not optimizer.state
    assert all(map(torch.equal, before, net.parameters()))
    assert set(found[0]) == (
        set() if kind is torch.optim.SGD else {"step", "exp_avg", "exp_avg_sq"}
    )


def test_state_that_does_not_begin_at_zero_is_not_shared():
    optimizers = {"own": torch.optim.NAdam(Net().parameters())}
    OptimizerStates(optimizers, share_state="private", num_workers=1)
    with pytest.raises(ValueError, match="mu_product"):
        OptimizerStates(optimizers, share_state="all", num_workers=1)


def test_parameter_that_leaves_the_shared_memory_is_found():
    net = Net()
    layout = FlatLayout(net.named_parameters())
    flats = layout.empty()
    layout.attach(flats, list(net.parameters()))
    layout.check(flats, list(net.parameters()), when="now")
    net.out.bias.data = torch.zeros(1)
    with pytest.raises(RuntimeError, match=r"out\.bias: left the shared memory"):
        layout.check(flats, list(net.parameters()), when="now")
