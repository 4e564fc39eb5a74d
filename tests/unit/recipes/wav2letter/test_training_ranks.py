"""The rules of training on two gloo processes: one start of both, several checks."""

import pytest
import torch

from tests.unit.recipes.common.on_ranks import results_of_ranks
from tests.unit.recipes.common.toy import ToyLoader, merge
from tests.unit.recipes.wav2letter import ranks_worker
from tests.unit.recipes.wav2letter.toy import batches, make_brain, weights

pytestmark = pytest.mark.multiproc


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """Results of both ranks."""
    return results_of_ranks(ranks_worker.main, tmp_path_factory.mktemp("ranks"))


def test_two_ranks_equal_one_process_on_the_same_global_batches(ranks):
    brain, counter = make_brain(
        phases=ranks_worker.PHASES, run_opts={"grad_accumulation_factor": 2}
    )
    loaders = [ToyLoader(batches(ranks_worker.SIZES)) for _ in range(2)]
    brain.fit(counter, *loaders)
    for result in ranks:
        assert result["plain"]["updates"] == brain.optimizer_step == len(ranks_worker.SIZES)
        assert torch.allclose(result["plain"]["weights"], weights(brain), rtol=0, atol=1e-10)


def test_two_ranks_equal_one_process_on_concatenated_batches(ranks):
    pairs = zip(*[iter(batches(ranks_worker.SIZES))] * 2, strict=True)
    merged = [merge(pair) for pair in pairs]
    brain, counter = make_brain(phases=ranks_worker.PHASES)
    brain.fit(counter, *(ToyLoader(merged) for _ in range(2)))
    assert brain.optimizer_step == len(ranks_worker.SIZES)
    for result in ranks:
        assert torch.allclose(result["plain"]["weights"], weights(brain), rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["gradient", "loss"])
def test_overflow_on_one_rank_is_tried_again_on_both(ranks, name):
    for result in ranks:
        found = result[name]
        assert (found["retries"], found["updates"]) == (1, len(ranks_worker.SIZES))
        assert torch.allclose(found["weights"], result["plain"]["weights"], rtol=0, atol=1e-10)
