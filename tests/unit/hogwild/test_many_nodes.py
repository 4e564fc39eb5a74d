"""What a node makes of the whole run's counts and averages, without other nodes."""

import datetime
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist

from hogwild.counters import BATCHES, NORM, STALENESS, UPDATES, Counters
from hogwild.items import EpochItems
from hogwild.nodes import Nodes
from hogwild.options import HogwildOptions
from hogwild.session import Session
from hogwild.snapshot import HogwildState
from tests.unit.hogwild.toy_run import Toy


class ManyNodes(Nodes):
    """One of several nodes; the others are not there."""

    def __init__(self, rank: int, size: int) -> None:
        super().__init__()
        self.rank, self.size = rank, size
        self.averaged: list[int] = []

    def sum(self, *numbers):
        return [float(number) * self.size for number in numbers]

    def average(self, flats):
        self.averaged.append(id(flats))


def session(nodes: Nodes, *, updates: int = 0, loaded: dict | None = None, **options) -> Session:
    brain, _ = Toy().make()
    brain.init_optimizers()
    brain.optimizer_step = updates
    state = HogwildState(nodes=nodes)
    state.loaded = loaded
    items = EpochItems(lambda _: 4, part=(nodes.rank, nodes.size))
    return Session(brain, HogwildOptions(**options), items, state=state)


def test_nodes_share_a_plain_trainers_updates():
    of_each = [session(ManyNodes(rank, 3), updates=20) for rank in range(3)]
    totals = [one.memory.counters.total_updates for one in of_each]
    assert totals == [7, 7, 6]


def test_average_starts_at_the_nodes_own_updates():
    assert session(ManyNodes(1, 2), updates=21, ema_decay=0.9).memory.ema.updates == 10


def test_average_goes_on_at_the_updates_of_the_checkpoint():
    first = session(ManyNodes(0, 1), ema_decay=0.9)
    first.memory.counters.counts[:, UPDATES] = (30, 40)
    taken = first.memory.copy("epoch", epoch=1, rng=[None, None])
    state = HogwildState(nodes=ManyNodes(0, 1))
    state.snapshot = taken
    saved = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "save", lambda found, path: saved.update(found))
        state._save("nowhere")
    again = session(ManyNodes(0, 1), updates=999, loaded=saved, ema_decay=0.9)
    assert again.memory.ema.updates == again.memory.counters.total_updates == 70


@pytest.mark.parametrize(("then", "now"), [("all", "private"), ("private", "second")])
def test_other_share_state_than_the_checkpoints_is_refused(then, now):
    saved = session(ManyNodes(0, 1), share_state=then).memory.shared.states.saved()
    states = session(ManyNodes(0, 1), share_state=now).memory.shared.states
    with pytest.raises(ValueError, match=f"share_state: is '{now}', but .* saved with '{then}'"):
        states.load(saved)


def test_average_of_parameters_is_averaged_over_nodes_too():
    nodes = ManyNodes(0, 2)
    one = session(nodes, ema_decay=0.9)
    one._coordinator = SimpleNamespace(is_out_of_time=False)
    snapshot = one.memory.copy("epoch", epoch=1, rng=[None, None])
    one._install(snapshot)
    assert nodes.averaged == [id(f) for f in (snapshot.params, snapshot.buffers, snapshot.ema)]


def test_means_are_over_what_the_workers_did():
    counters = Counters(2)
    counters.go_on_from(updates=1000, utterances=500, skipped=3)
    counters.counts[:, UPDATES] = (6, 4)
    counters.counts[:, STALENESS] = (5, 0)
    counters.floats[:, NORM] = (10.0, 10.0)
    counters.canary.fill_(9.0)
    assert counters.total_updates == 1010
    assert counters.total(BATCHES) == 0
    figures = counters.figures()
    assert figures["updates_by_worker"] == [6, 4]
    assert figures["staleness_mean"] == pytest.approx(0.5)
    assert figures["grad_norm_mean"] == pytest.approx(2.0)
    assert figures["lost_updates_share"] == pytest.approx(0.1)
    other = Counters(1)
    other.load(counters.state())
    assert other.total_updates == 1010
    assert other.figures()["updates_by_worker"] == [10]


def test_exchanges_between_nodes_are_bounded_by_the_option(monkeypatch):
    asked = []
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_rank", lambda: 0)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "new_group", lambda **options: asked.append(options["timeout"]))
    Nodes(timeout_s=7.5)
    assert asked == [datetime.timedelta(seconds=7.5)] * 2
