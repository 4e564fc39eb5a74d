"""Of each so many updates of the run one is told to the parent, whoever does it."""

import random

import pytest

from hogwild.counters import UPDATES, Counters
from tests.unit.hogwild.toy_run import Toy, train


def num_told(counters: Counters, every: int, workers: list[int]) -> int:
    told = 0
    for worker in workers:
        counters.counts[worker, UPDATES] += 1
        told += counters.is_report_due(worker, every)
    return told


@pytest.mark.parametrize("num_workers", [1, 2, 3])
@pytest.mark.parametrize("num_nodes", [1, 2])
@pytest.mark.parametrize("every", [1, 10, 50])
def test_one_of_every_so_many_updates_is_told(num_workers, num_nodes, every):
    counters = Counters(num_workers)
    counters.num_nodes = num_nodes
    workers = [number % num_workers for number in range(600)]
    random.Random(1).shuffle(workers)
    told = num_told(counters, every, workers)
    # Not more often than each update of this node; a worker may owe one that began.
    due = min(600, 600 * num_nodes // every)
    assert abs(told - due) < num_workers


def test_one_workers_reports_are_at_multiples_also_after_a_plain_trainer():
    counters = Counters(1)
    counters.go_on_from(updates=7, utterances=0, skipped=0)
    told = []
    for _ in range(20):
        counters.counts[0, UPDATES] += 1
        if counters.is_report_due(0, 5):
            told.append(counters.total_updates)
    assert told == [10, 15, 20, 25]


@pytest.mark.multiproc
def test_run_with_nothing_left_to_do_tells_what_its_workers_did(tmp_path):
    toy = Toy()
    first = train(toy, folder=tmp_path, epochs=1, num_workers=2)
    again = train(toy, folder=tmp_path, epochs=1, num_workers=2)
    assert again.figures == []
    assert sum(again.ended["staleness_histogram"]) == len(toy.sizes)
    assert again.ended["updates_by_worker"] == first.figures[-1]["updates_by_worker"]
