"""What asynchronous workers leave out: the parent adds it up, and stops where it is too much."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from data_prepare.mixing import MixedLoader
from data_prepare.stream import ShardLoader
from recipes.common.worker_faults import WorkerFaults, left_out, unchecked
from tests.unit.data_prepare.corpora import write_split

NUM_UTTERANCES, NUM_LOST = 30, 10


@pytest.fixture
def split(tmp_path: Path) -> Path:
    folder = write_split(tmp_path / "train", [[0.2] * 10] * 3)
    (folder / "shard-000001.tar").unlink()
    return folder


def make_loader(split: Path, share: float, **options) -> ShardLoader:
    return ShardLoader(split, max_batch_s=0.2, shuffle=True, max_bad_share=share, **options)


def tell(parent: WorkerFaults, workers: list, *, pass_number: int = 0) -> None:
    """Let workers read the batches of a pass in turn, and tell what is bad."""
    for number in range(workers[0].num_batches(pass_number)):
        batch = workers[number % len(workers)].fetch(number, pass_number=pass_number)
        told = left_out(batch)
        if told is not None:
            parent(SimpleNamespace(pass_number=pass_number, number=number), told)


def test_faults_within_the_share_are_added_up_and_logged_by_epoch(split, caplog):
    parent = WorkerFaults(make_loader(split, 0.4))
    workers = [unchecked(make_loader(split, 0.4)) for _ in range(2)]
    tell(parent, workers)
    assert parent.end_epoch() == {"missing_shard": NUM_LOST}
    tell(parent, workers, pass_number=1)
    tell(parent, workers, pass_number=1)  # given out again
    assert parent.end_epoch() == {"missing_shard": 2 * NUM_LOST}
    said = f"skipped in this epoch: {{'missing_shard': {NUM_LOST}}}"
    assert caplog.text.count(said) == 2


@pytest.mark.parametrize("num_workers", [1, 2, 5])
def test_share_is_that_of_all_workers_together(split, num_workers):
    loader = make_loader(split, 0.3)  # of 30: 9; each of several workers meets less
    workers = [unchecked(make_loader(split, 0.3)) for _ in range(num_workers)]
    with pytest.raises(ValueError, match=r"loader of .*: 10 unusable .*0\.3 of 30; prepare"):
        tell(WorkerFaults(loader), workers)


def test_overlapping_passes_have_budgets_of_their_own(split):
    loader = make_loader(split, 0.4)
    parent = WorkerFaults(loader)
    for number in range(loader.num_batches()):
        for pass_number in range(2):
            told = left_out(loader.read(number, pass_number=pass_number))
            if told is not None:
                parent(SimpleNamespace(pass_number=pass_number, number=number), told)
    assert parent.by_kind["missing_shard"] == 2 * NUM_LOST


def test_share_of_a_node_is_that_of_its_part(split):
    loader = make_loader(split, 0.4, rank=0, world_size=2)  # 6 of its 15
    with pytest.raises(ValueError, match=r"7 unusable .*0\.4 of 15"):
        tell(WorkerFaults(loader), [unchecked(loader)])


def test_mixture_has_a_budget_for_each_corpus(split, tmp_path):
    folders = {"lost": split, "whole": write_split(tmp_path / "whole", [[0.2] * 30])}
    loader = MixedLoader(folders, max_batch_s=0.2, shuffle=True, temperature=1.0, max_bad_share=0.3)
    with pytest.raises(ValueError, match=rf"loader of {split}: 10 unusable .*0\.3 of 30"):
        for pass_number in range(2):
            tell(WorkerFaults(loader), [unchecked(loader)], pass_number=pass_number)


def test_fetch_by_itself_counts_and_refuses(split):
    loader = make_loader(split, 0.9)
    for number in range(loader.num_batches()):
        loader.fetch(number)
    assert loader.statistics.faults_by_kind == {"missing_shard": NUM_LOST}
    strict = make_loader(split, 0.01)
    with pytest.raises(ValueError, match="1 unusable"):
        [strict.fetch(number) for number in range(strict.num_batches())]


def test_batches_of_text_have_nothing_left_out():
    text = SimpleNamespace(fetch=lambda number, pass_number=0: number, num_batches=lambda n: 3)
    assert unchecked(text).fetch(2) == 2
    assert left_out(SimpleNamespace()) is None
