"""Testing without training, also on corpora of other layouts, by the best checkpoint."""

import shutil
from pathlib import Path

import pytest
import yaml

from data_prepare.index import ShardIndex
from recipes.common.checkpoint_files import write_checksums
from tests.integration.commands import (
    CORPUS,
    Done,
    checkpoints,
    log_rows,
    run,
    run_json,
    train_command,
)
from tests.integration.conftest import MainJob

pytestmark = pytest.mark.multiproc

SHARDS = {
    "test": "shards/test",
    "librispeech/test-clean": "librispeech_shards/test-clean",
    "librispeech/test-other": "librispeech_shards/test-other",
    "spgispeech/valid": "spgispeech_shards/valid",
}


@pytest.fixture(scope="module")
def output(main_job: MainJob, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the main job's output, its older checkpoint made the best on validation data."""
    folder = Path(shutil.copytree(main_job.output, tmp_path_factory.mktemp("test_only") / "run"))
    older = checkpoints(folder)[0]
    meta = yaml.safe_load((older / "CKPT.yaml").read_text(encoding="utf-8"))
    text = yaml.safe_dump({**meta, "wer": 1.0, "loss": 1000.0})
    (older / "CKPT.yaml").write_text(text, encoding="utf-8")
    write_checksums(older)
    (folder / "train_log.jsonl").unlink()
    return folder


@pytest.fixture(scope="module")
def done(main_job: MainJob, output: Path) -> Done:
    """The end of the command that only tests."""
    options = {
        **CORPUS,
        "work_folder": main_job.work,
        "test_only": True,
        "model.max_decode_ratio": 0.2,
        "model.beam_size": 2,
        "librispeech_folder": main_job.work / "corpus" / "LibriSpeech",
        "spgispeech_folder": main_job.work / "corpus" / "SPGISpeech",
    }
    return run(train_command("hparams/train.yaml", output, **options)).check()


def test_test_only_reports_every_test_set(main_job: MainJob, output: Path, done: Done):
    results = run_json(output)["results"]
    assert list(results) == list(SHARDS)
    for name, shards in SHARDS.items():
        index = ShardIndex.load(main_job.work / shards)
        assert results[name]["utterances"] == index.num_utterances > 0
        row = f"{results[name]['wer']:.2f}"
        assert any(line.split()[:2] == [name, row] for line in done.out.splitlines())
        assert (output / "alignments" / f"{name.replace('/', '_')}.txt").is_file()


def test_test_only_does_not_train(main_job: MainJob, output: Path, done: Done):
    assert "Going into epoch" not in done.said
    assert log_rows(output) == []
    assert run_json(output)["updates"] == run_json(main_job.output)["updates"]
    assert len(checkpoints(output)) == 2


def test_test_only_takes_the_best_checkpoint_by_validation_wer(output: Path, done: Done):
    older, newer = checkpoints(output)
    loaded = [line for line in done.said.splitlines() if "Loading the modules of" in line]
    assert len(loaded) == len(SHARDS)
    assert all(line.endswith(older.name) for line in loaded), newer.name
