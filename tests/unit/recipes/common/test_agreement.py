"""Two nodes with disks of their own: who decides, who copies, and plans that differ."""

import pytest

from tests.unit.recipes.common import agreement_worker
from tests.unit.recipes.common.on_ranks import results_of_ranks

pytestmark = pytest.mark.multiproc


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """Results of both ranks."""
    return results_of_ranks(agreement_worker.main, tmp_path_factory.mktemp("ranks"))


def test_every_node_gets_a_copy_of_its_own(ranks):
    names = ("index.json", "shard-000000.tar", "shard-000001.tar")
    for result in ranks:
        assert set(result["copied"]) >= {f"scratch/train/{name}" for name in names}


def test_main_process_decides_whether_the_source_is_there(ranks):
    assert [result["source"] for result in ranks] == [("shards", 2)] * 2


def test_equal_plans_agree(ranks):
    assert [result["equal"] for result in ranks] == ["", ""]


@pytest.mark.parametrize(("name", "uses"), [("seeds", ["train"]), ("stale", ["train", "valid"])])
def test_plans_that_differ_are_one_error_on_all_ranks(ranks, name, uses):
    first, second = (result[name] for result in ranks)
    assert first == second
    assert "ranks plan different batches" in first
    assert [use for use in ("train", "valid") if f"{use} (" in first] == uses
