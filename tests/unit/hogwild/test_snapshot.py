"""What is validated while workers go on is finite, and is what is saved and reported."""

import json
import threading

import pytest
import torch
from speechbrain import Stage

from hogwild.counters import Counters
from hogwild.leases import Leases
from hogwild.options import HogwildOptions
from hogwild.shared import SharedModel
from hogwild.snapshot import Memory
from tests.unit.hogwild.counting import Numbered, Task, count
from tests.unit.hogwild.toy_run import Toy, train
from tests.unit.recipes.common.toy import Net, ToyLoader, make_batches, weights

pytestmark = pytest.mark.multiproc
EPOCHS, LIMIT_S = 3, 120.0
LONG = Toy({"norm": True, "hparams": {"num_to_keep": EPOCHS}}, sizes=(4, 3, 5, 2) * 8)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_parameters_that_are_not_finite_are_refused(bad):
    net = Net()
    shared = SharedModel(net, {}, HogwildOptions())
    memory = Memory(shared, Counters(2), Leases(lambda _: [], 2))
    taken = memory.copy("epoch", epoch=1, rng=[None, None])
    taken.check_finite(updates=7)
    shared.params_layout.views(shared.params)[-1][0] = bad
    taken.check_finite(updates=7)  # it is a copy
    with pytest.raises(FloatingPointError, match="after 7 updates parameters are not finite"):
        memory.copy("epoch", epoch=1, rng=[None, None]).check_finite(updates=7)


def test_run_whose_parameters_are_not_finite_ends_and_saves_nothing(tmp_path):
    task = Task(6, rate=float("inf"))
    with pytest.raises(FloatingPointError, match="parameters are not finite"):
        count(task, folder=tmp_path, epochs=1, valid=[Numbered(0, ["valid"])])
    assert not list(tmp_path.glob("CKPT*"))


class WhileTheyTrain:
    """Validation data of a Brain that last until the workers have made more updates."""

    def __init__(self, brain):
        self.brain, self.seen = brain, []
        self.progress = threading.Condition()
        self.latest = 0
        note = brain.on_update_end

        def hear(report):  # called in the thread that hears the workers
            note(report)
            with self.progress:
                self.latest = max(self.latest, report.number)
                self.progress.notify_all()

        brain.on_update_end = hear
        forward = brain.compute_forward

        def look_and_forward(batch, stage):
            if stage == Stage.VALID:
                self.seen[-1].append(weights(brain))
            return forward(batch, stage)

        brain.compute_forward = look_and_forward
        self.num_validations = 0

    def __iter__(self):
        self.seen.append([])
        self.num_validations += 1
        first, last = make_batches([4, 3])
        yield first
        if self.num_validations < EPOCHS:  # the last epoch has no other behind it
            with self.progress:
                taken = self.brain.optimizer_step
                assert self.progress.wait_for(lambda: self.latest > taken, LIMIT_S)
        yield last


def test_what_is_validated_beside_running_workers_is_what_is_saved(tmp_path):
    watches = []

    def watch(brain):
        watches.append(WhileTheyTrain(brain))
        return watches[0]

    ran = train(LONG, folder=tmp_path, epochs=EPOCHS, num_workers=2, valid=watch)
    (watch,) = watches
    losses = [loss for stage, loss in ran.brain.stages if stage == "VALID"]
    saved = sorted(tmp_path.glob("CKPT+*"))
    assert [len(seen) for seen in watch.seen] == [2] * EPOCHS
    assert len(saved) == len(losses) == EPOCHS
    for folder, seen, loss in zip(saved, watch.seen, losses, strict=True):
        plain, _ = LONG.make()
        plain.modules.net.load_state_dict(torch.load(folder / "net.ckpt", weights_only=True))
        assert torch.equal(weights(plain), seen[0])
        assert torch.equal(weights(plain), seen[1])
        assert plain.evaluate(ToyLoader(make_batches([4, 3]))) == pytest.approx(loss)
        state = torch.load(folder / "hogwild.ckpt", weights_only=True)["nodes"][0]
        counts = state["counters"]["counts"].view(2, -1)[:, 0]
        meta = json.loads((folder / "brain.ckpt").read_text())
        assert counts.sum() == meta["optimizer_step"]
    assert not torch.equal(watch.seen[0][0], watch.seen[1][0])
