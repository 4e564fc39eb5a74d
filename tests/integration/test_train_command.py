"""The main job from nothing to its table, and the same command again."""

import re
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from data_prepare.index import ShardIndex
from recipes.common.experiment import git_commit
from tests.integration.commands import Done, checkpoints, log_rows, run, run_json
from tests.integration.conftest import MainJob

pytestmark = pytest.mark.multiproc

FIGURES = {"wer", "wer_p", "cer_p", "utterances"}
SPEEDS = [
    f"speed/{name}"
    for name in (
        "updates_per_s",
        "utterances_per_s",
        "audio_s_per_s",
        "loader_wait_share",
        "padding_share",
    )
]
PACKAGES = {"speechbrain", "torch", "torchaudio", "hyperpyyaml", "sentencepiece", "webdataset"}


def table_rows(out: str) -> dict[str, list[str]]:
    """Return the rows of the printed table by their first cell."""
    lines = out.splitlines()
    head = next(n for n, line in enumerate(lines) if line.startswith("test set"))
    rows = [re.split(r"\s{2,}", line.strip()) for line in lines[head + 2 :]]
    return {row[0]: row[1:] for row in rows if len(row) == 5}


def shown(figures: dict[str, float]) -> list[str]:
    """Return a row of the table as it should be."""
    rates = [f"{figures[name]:.2f}" for name in ("wer", "wer_p", "cer_p")]
    return [*rates, str(figures["utterances"])]


def mtimes(folder: Path) -> dict[str, int]:
    """Return when the files that a run looks at were written, the preparer's lock left out."""
    files = [path for path in folder.rglob("*") if path.is_file() and ".work" not in path.parts]
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in files}


def test_main_job_table_shows_the_figures_of_run_json(main_job: MainJob):
    results = run_json(main_job.output)["results"]
    assert list(results) == ["test"]
    rows = {"test": shown(results["test"])}
    rows |= {name: shown(part) for name, part in results["test"]["by_category"].items()}
    assert table_rows(main_job.done.out) == rows
    assert {"native", "nonnative", "presentation", "q-and-a"} & set(rows)


def test_main_job_run_json_tells_how_it_was_made(main_job: MainJob):
    record = run_json(main_job.output)
    assert record["command"].startswith("python train.py hparams/train.yaml --output_folder")
    known = git_commit() is not None
    assert re.fullmatch(r"[0-9a-f]{40}(\+changes)?", record["commit"] or "") or not known
    assert [start["commit"] for start in record["starts"]] == [record["commit"]]
    assert set(record["packages"]) >= PACKAGES
    assert (record["seed"], record["world_size"], record["precision"]) == (0, 1, "fp32")
    assert {"processor", "cores", "memory_gib", "gpus", "python"} <= set(record["machine"])
    splits = {name: ShardIndex.load(main_job.work / "shards" / name) for name in SPLITS}
    assert record["index_checksums"] == {name: index.checksum for name, index in splits.items()}
    assert record["results"]["test"]["utterances"] == splits["test"].num_utterances
    assert set(record["results"]["test"]) >= FIGURES | {"by_category"}


SPLITS = ("train", "valid", "test")


def test_main_job_run_json_tells_its_seconds(main_job: MainJob):
    record = run_json(main_job.output)
    seconds = record["seconds"]
    assert set(seconds) == {"prepare", "train", "test", "total"}
    parts = seconds["prepare"] + seconds["train"] + seconds["test"]
    assert min(seconds.values()) > 0
    assert seconds["total"] == pytest.approx(parts, abs=0.05)
    assert record["target"] == {"wer": 40.0}
    assert record["target_reached_s"] is None


def test_main_job_writes_each_test_utterance_with_its_alignment(main_job: MainJob):
    text = (main_job.output / "alignments" / "test.txt").read_text(encoding="utf-8")
    assert (main_job.output / "alignments" / "valid.txt").is_file()
    for row in ShardIndex.load(main_job.work / "shards" / "test").texts():
        assert re.search(rf"^{re.escape(row['id'])}  \d+ errors in \d+ words  \w+", text, re.M)
    for label in ("REF", "HYP", "EDIT"):
        assert len(re.findall(rf"^{label}", text, re.M)) == text.count(" errors in ")


def test_main_job_logs_text_and_curves(main_job: MainJob):
    lines = (main_job.output / "train_log.txt").read_text(encoding="utf-8").splitlines()
    assert [line.split(":")[0] for line in lines[:3]] == ["valid", "valid", "test test"]
    curves = EventAccumulator(str(main_job.output / "tensorboard"))
    curves.Reload()
    rows = log_rows(main_job.output)
    points = [(event.step, event.value) for event in curves.Scalars("valid/wer")]
    assert points == [(row["updates"], pytest.approx(row["wer"], rel=1e-6)) for row in rows]
    every_other = list(range(2, rows[-1]["updates"] + 1, 2))
    for name in ("train/loss", "train/grad_norm", "train/rate", *SPEEDS):
        events = curves.Scalars(name)
        assert [event.step for event in events] == every_other, name
        assert min(event.value for event in events) >= 0
    for name in ("speed/loader_wait_share", "speed/padding_share"):
        assert max(event.value for event in curves.Scalars(name)) < 1
    assert re.search(r"update 2: updates_per_s \S+, utterances_per_s \S+, ", main_job.done.said)


@pytest.fixture(scope="module")
def again(main_job: MainJob) -> tuple[Done, dict[str, int], dict[str, int]]:
    """The same command once more, with the files before and after it."""
    before = mtimes(main_job.work)
    done = run(main_job.command).check()
    return done, before, mtimes(main_job.work)


def test_main_job_again_finds_corpus_shards_and_tokenizer(again):
    _, before, after = again
    names = "\n".join(before)
    for expected in ("corpus/synthetic.json", "shards/train/index.json", "tokenizer_bpe_80/"):
        assert expected in names
    assert after == before


def test_main_job_again_goes_on_from_its_checkpoint(main_job: MainJob, again):
    done, _, _ = again
    assert "Going into epoch" not in done.said
    assert len(log_rows(main_job.output)) == 2
    assert len(log_rows(main_job.output, "test test")) == 2
    assert table_rows(done.out) == table_rows(main_job.done.out)
    assert run_json(main_job.output)["updates"] == log_rows(main_job.output)[-1]["updates"]
    assert len(checkpoints(main_job.output)) == 2
