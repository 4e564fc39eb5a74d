"""A worker that accumulates is alive; a save waits for the one before."""

from types import SimpleNamespace

import pytest

from hogwild.coordinator import Coordinator
from hogwild.counters import BATCHES, Counters
from hogwild.crew import Member
from hogwild.items import EpochItems
from hogwild.leases import Leases
from hogwild.options import HogwildOptions
from tests.unit.hogwild.counting import Task, count, times_applied
from tests.unit.hogwild.simulation import SimulatedMemory


@pytest.mark.multiproc
def test_worker_that_accumulates_for_longer_than_the_limit_has_not_hung():
    task = Task(size=16, pause_s=0.5, group=8)  # an update takes 4 s
    brain, figures = count(task, epochs=1, worker_timeout_s=2.5)
    assert brain.optimizer_step == 2
    assert figures[-1]["restarts"] == 0
    assert min(times_applied(brain)) > 0


def test_computed_batch_is_progress_and_the_same_count_is_none():
    member = Member(0)
    member.note_computed(1)
    assert member.progress_at_s > 0
    member.progress_at_s = 0.0
    member.note_computed(1)
    assert member.progress_at_s == 0.0


def test_second_save_waits_until_the_first_is_written():
    counters, leases = Counters(1), Leases(EpochItems(lambda _: 9).of, 1)
    nobody = SimpleNamespace(members=[], wait=lambda *_, **__: [], mind_hangs=lambda *_, **__: None)
    coordinator = Coordinator(
        nobody,  # type: ignore[arg-type]
        SimulatedMemory(leases, counters),  # type: ignore[arg-type]
        HogwildOptions(num_workers=1),
        max_updates=None,
        save_every=2,
        on_word=print,
    )

    def saves_after_two_batches() -> int:
        counters.counts[0, BATCHES] += 2
        coordinator.serve()
        return coordinator.events.qsize()

    assert saves_after_two_batches() == 1
    assert saves_after_two_batches() == 1
    coordinator.ask_snapshot()
    assert saves_after_two_batches() == 1
    coordinator.note_saved()
    assert saves_after_two_batches() == 2
    coordinator.stop(is_urgent=True)
