"""Of each so many updates of the run one is told to the parent, whoever does it."""

import random

import pytest

from hogwild.counters import UPDATES, Counters
from tests.unit.hogwild.counting import Task, count
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


@pytest.mark.multiproc
@pytest.mark.parametrize("fate", ["", "dies_once"])
def test_notes_of_batches_are_told_by_all_workers_before_the_epoch_ends(tmp_path, fate):
    told = []
    count(
        Task(20, folder=tmp_path, fate=fate),
        epochs=2,
        on_note=lambda item, note: told.append((item.pass_number, item.number, note)),
    )
    odd = {(done, n, f"utt-{n}") for done in range(2) for n in range(1, 20, 2)}
    assert set(told) == odd
    assert len(told) == len(odd) or fate  # again where a batch is given out again


@pytest.mark.multiproc
def test_error_about_a_note_ends_the_run():
    def refuse(item, note):
        raise ValueError(f"{note} is too bad")

    with pytest.raises(ValueError, match=r"^utt-\d+ is too bad$"):
        count(Task(20), on_note=refuse)
