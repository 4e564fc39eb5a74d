"""An update that others have overtaken is counted, and takes a smaller step."""

from functools import partial

import pytest
import torch

from hogwild.counters import SKIPPED, UTTERANCES, Counters
from hogwild.options import HogwildOptions
from hogwild.pushing import Pusher
from hogwild.shared import SharedModel
from tests.unit.recipes.common.toy import ToyBrain, make_batches, make_brain

RATE = 0.1


class Pair:
    """Two workers of one shared model in this process, which push when they are told to."""

    def __init__(self, hparams: dict | None = None, **options):
        how = HogwildOptions(**options)
        self.brains = [self.make_brain(hparams) for _ in range(2)]
        self.shared = SharedModel(self.brains[0].modules, self.brains[0].optimizers_dict, how)
        self.counters = Counters(2)
        self.batches = make_batches([4, 3, 5])
        self.grads: list[torch.Tensor] = []
        self.rates: list[float] = []
        self.pushers = []
        for number, brain in enumerate(self.brains):
            apply = brain.apply_update
            brain.apply_update = lambda optimizers, apply=apply: self.note(optimizers, apply)
            pusher = Pusher(brain, self.shared, self.counters, worker=number, options=how)
            brain.on_update_end = self.note_report(pusher)
            self.pushers.append(pusher)
        self.norms: list[float] = []

    @staticmethod
    def make_brain(hparams: dict | None) -> ToyBrain:
        optimizer = partial(torch.optim.SGD, lr=RATE)
        brain, _ = make_brain(optimizer=optimizer, hparams=hparams)
        brain.init_optimizers()
        return brain

    def note(self, optimizers, apply):
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        self.rates += [group["lr"] for group in groups]
        self.grads.append(flat([p.grad for group in groups for p in group["params"]]))
        apply(optimizers)

    def note_report(self, pusher):
        def note(report):
            self.norms.append(report.grad_norm)
            pusher.note_report(report)

        return note

    def push_overtaken(self, *, times: int) -> torch.Tensor:
        """Let worker 0 read, worker 1 push so often, and worker 0 push; return its step."""
        one, before = self.brains[0], []

        def forward(batch, stage):
            self.push_by_other(times)
            before.append(flat(one.modules.parameters()))
            return ToyBrain.compute_forward(one, batch, stage)

        one.compute_forward = forward
        one.fit_batch(self.batches[0])
        return flat(one.modules.parameters()) - before[0]

    def push_by_other(self, times: int) -> None:
        """Let worker 1 push so often."""
        for _ in range(times):
            self.brains[1].fit_batch(self.batches[1])


def flat(tensors) -> torch.Tensor:
    return torch.cat([tensor.detach().flatten().clone() for tensor in tensors])


@pytest.mark.parametrize(
    ("options", "times", "factor"),
    [
        ({}, 3, 4**-0.25),
        ({"staleness_power": 0.5}, 3, 0.5),
        ({}, 0, 1.0),
        ({"staleness_power": 1.0}, 3, 0.25),
        ({"staleness_power": 0.0}, 3, 1.0),
    ],
)
def test_step_shrinks_with_staleness_and_the_rate_comes_back(options, times, factor):
    pair = Pair(**options)
    step = pair.push_overtaken(times=times)
    assert torch.allclose(step, -RATE * factor * pair.grads[-1], rtol=1e-4, atol=1e-7)
    assert pair.grads[-1].norm() > 0.01
    assert pair.rates == pytest.approx([RATE] * times + [RATE * factor])
    assert [b.optimizer.param_groups[0]["lr"] for b in pair.brains] == [RATE, RATE]


def test_staleness_and_norms_are_those_of_the_updates():
    pair = Pair()
    for times in (3, 0, 2):
        pair.push_overtaken(times=times)
    figures = pair.counters.figures()
    # Worker 1 is never overtaken: 5 updates. Worker 0 is, by 3, none and 2 updates.
    assert figures["staleness_histogram"] == [6, 0, 1, 1]
    assert figures["staleness_mean"] == 5 / 8
    assert figures["staleness_p95"] == 3
    assert figures["updates_by_worker"] == [3, 5]
    assert figures["utterances_by_worker"] == [3 * 4, 5 * 3]
    assert figures["lost_updates_share"] == 0.0
    assert figures["grad_norm_mean"] == pytest.approx(sum(pair.norms) / 8)
    norms = [float(grads.norm()) for grads in pair.grads]
    assert pair.norms == pytest.approx(norms, rel=1e-4)


def test_sleep_of_a_straggler_is_no_staleness():
    pair = Pair({"straggler": 0, "straggler_share": 0.5})
    pair.brains[0].process, pair.brains[1].process = 0, 1
    pair.brains[0]._straggler.rest = lambda: pair.push_by_other(3)
    pair.push_overtaken(times=1)
    assert pair.counters.figures()["staleness_histogram"] == [4, 1]


def test_forward_pass_knows_the_updates_of_the_run():
    pair, seen = Pair(), []
    one = pair.brains[0]
    pair.counters.go_on_from(updates=7, utterances=0, skipped=0)
    pair.counters.num_nodes = 2
    forward = one.compute_forward
    one.compute_forward = lambda *given: seen.append(one.optimizer_step) or forward(*given)
    for number in range(3):
        one.fit_batch(pair.batches[number])
        pair.push_by_other(1)
    assert seen == [2 * 7, 2 * 9, 2 * 11]


def test_utterances_and_skipped_updates_are_counted_as_by_the_plain_trainer():
    pair, plain = Pair(), Pair.make_brain(None)
    batches = make_batches([4, 0, 3, 5])  # the second has no unit
    batches[2].x[:] = torch.nan
    for brain in (plain, pair.brains[0]):
        for batch in batches:
            brain.fit_batch(batch)
    counted = [pair.counters.total(column) for column in (UTTERANCES, SKIPPED)]
    assert counted == [plain.num_utterances, plain.nonfinite.num_skipped] == [4 + 5, 1]
