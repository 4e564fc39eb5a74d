"""The rules of training on two gloo processes: one start of both, several checks."""

import socket

import pytest
import torch

from tests.unit.recipes.common.toy import ToyLoader
from tests.unit.recipes.wav2letter import ranks_worker
from tests.unit.recipes.wav2letter.toy import batches, make_brain, weights

pytestmark = pytest.mark.multiproc


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """Results of both ranks."""
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(ranks_worker.main, args=(port, folder), nprocs=2)
    return [torch.load(folder / f"rank{n}.pt", weights_only=True) for n in range(2)]


def test_two_ranks_equal_one_process_on_the_same_global_batches(ranks):
    brain, counter = make_brain(
        phases=ranks_worker.PHASES, run_opts={"grad_accumulation_factor": 2}
    )
    loaders = [ToyLoader(batches(ranks_worker.SIZES)) for _ in range(2)]
    brain.fit(counter, *loaders)
    for result in ranks:
        assert result["plain"]["updates"] == brain.optimizer_step == len(ranks_worker.SIZES)
        assert torch.allclose(result["plain"]["weights"], weights(brain), rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["gradient", "loss"])
def test_overflow_on_one_rank_is_tried_again_on_both(ranks, name):
    for result in ranks:
        found = result[name]
        assert (found["retries"], found["updates"]) == (1, len(ranks_worker.SIZES))
        assert torch.allclose(found["weights"], result["plain"]["weights"], rtol=0, atol=1e-10)
