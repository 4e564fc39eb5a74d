"""A run on a mixture of three corpora, from the recordings to the table."""

import json
from pathlib import Path

import pytest

from data_prepare.index import ShardIndex
from data_prepare.mixed_corpus import read_mixture
from tests.integration.commands import SMALL, checkpoints, run, run_json, train_command
from tests.integration.conftest import MainJob

pytestmark = pytest.mark.multiproc

TESTS = ["bizspeech/test", "librispeech/test-clean", "librispeech/test-other", "spgispeech/valid"]
PARTS = ["bizspeech", "librispeech", "spgispeech"]


@pytest.fixture(scope="module")
def mixed_run(main_job: MainJob, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two nominal epochs on the recordings of the main job; returns the output folder."""
    output = tmp_path_factory.mktemp("mixed")
    options = {key: value for key, value in SMALL.items() if not key.startswith("corpus.")}
    options |= {"corpus.parts.bizspeech.hours": SMALL["corpus.hours"]}
    options |= {f"corpus.parts.{part}.num_jobs": 1 for part in PARTS}
    options |= {"work_folder": main_job.work, "num_epochs": 2, "batches_per_epoch": 6}
    run(train_command("hparams/train_mixed.yaml", output, **options)).check()
    return output


def test_mixed_run_tests_every_part(mixed_run: Path, main_job: MainJob):
    record = run_json(mixed_run)
    assert list(record["results"]) == TESTS
    assert record["updates"] == 12
    parts = read_mixture(main_job.work / "mixture" / "train")
    assert list(parts) == PARTS
    for name, folder in parts.items():
        assert record["index_checksums"][f"{name}/train"] == ShardIndex.load(folder).checksum


def test_mixed_run_checkpoint_says_where_each_corpus_stands(mixed_run: Path):
    state = json.loads((checkpoints(mixed_run)[-1] / "train_loader.ckpt").read_text("utf-8"))
    assert list(state["corpora"]) == PARTS
    assert all(corpus["place"] > [0, 0] for corpus in state["corpora"].values())
    assert state["epoch_batches"] == 6


def test_mixed_run_tokenizer_has_the_text_of_all_parts(mixed_run: Path, main_job: MainJob):
    (info,) = main_job.work.glob("mixed_tokenizer_*/tokenizer.json")
    indexes = json.loads(info.read_text(encoding="utf-8"))["text"]["indexes"]
    parts = read_mixture(main_job.work / "mixture" / "train")
    assert indexes == [ShardIndex.load(folder).checksum for folder in parts.values()]
