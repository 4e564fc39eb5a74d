"""The common Brain on two gloo processes: one start of both, many checks."""

import pytest
import torch

from tests.unit.recipes.common import ranks_worker
from tests.unit.recipes.common.on_ranks import results_of_ranks
from tests.unit.recipes.common.toy import ToyLoader, make_batches, make_brain, weights

pytestmark = pytest.mark.multiproc


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """Results of both ranks."""
    return results_of_ranks(ranks_worker.main, tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize(("name", "factor"), [("exact", 2), ("remainder", 8)])
def test_two_ranks_equal_one_process_with_accumulation(ranks, name, factor):
    run_opts = {"grad_accumulation_factor": factor, "max_grad_norm": 0.5}
    brain, counter = make_brain(run_opts=run_opts, dtype=torch.float64)
    loaders = [ToyLoader(make_batches(ranks_worker.SIZES, dtype=torch.float64)) for _ in range(2)]
    brain.fit(counter, *loaders)
    for result in ranks:
        assert torch.allclose(result[name]["weights"], weights(brain), rtol=0, atol=1e-12)
        assert result[name]["losses"] == pytest.approx([r.loss for r in brain.reports])
        for (_, ours), (_, theirs) in zip(brain.stages, result[name]["stages"], strict=True):
            assert ours == pytest.approx(theirs)


def test_session_on_cpu_takes_gloo(ranks):
    assert [result["backend"] for result in ranks] == ["gloo", "gloo"]


def test_batch_norm_trains_on_cpu_and_unequal_validation_agrees(ranks):
    first, second = (result["norm"] for result in ranks)
    assert torch.equal(first["weights"], second["weights"])
    assert first["stages"] == second["stages"]


def test_resume_after_a_kill_is_bit_exact_on_every_rank(ranks):
    for result in ranks:
        found = result["resume"]["weights"]
        assert torch.equal(found["straight"], found["killed again"])


def test_ranks_have_streams_of_their_own(ranks):
    assert not torch.equal(ranks[0]["resume"]["stream"], ranks[1]["resume"]["stream"])


def test_nonfinite_loss_on_one_rank_skips_and_raises_on_both(ranks):
    for result in ranks:
        assert result["nonfinite"]["applied"] == [True, False, True, True, True, True]
        assert "utt-1-0" in result["nonfinite"]["error"]
        assert result["nonfinite"]["weights"].isfinite().all()


def test_unequal_numbers_of_batches_end_both_ranks(ranks):
    for result in ranks:
        assert "epoch ends here on 1 of 2 ranks" in result["unequal"]


def test_limit_in_seconds_ends_all_ranks_at_one_update(ranks):
    for result in ranks:
        assert result["seconds"] == {"updates": 4, "utterances": sum(ranks_worker.SIZES[:8])}


def test_scores_are_merged_and_sorted(ranks):
    for result in ranks:
        assert result["scores"] == {"ids": ["a", "b", "c"], "wer": 50.0}


def test_damaged_newest_checkpoint_makes_both_ranks_fall_back(ranks):
    for result in ranks:
        assert result["fallback"]["epoch"] == 1
        assert all(name.startswith("CKPT+") for name in result["fallback"]["names"])
