"""The job files on a real Slurm of one node: prepare, train in every way, requeue, cancel."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.cluster.jobs import Cluster, processes_of
from tests.integration.commands import SMALL, log_rows, parameters, run, run_json, train_command

pytestmark = [pytest.mark.slurm, pytest.mark.multiproc]
TWO = {"NUM_PROCESSES": "2", "MONITOR_EVERY_S": "5"}
LIMIT_S = 120.0
EPOCHS = {"train": 8, "ddp": 8, "hogwild": 60}  # a sleeping worker hardly slows Hogwild


def flags(**options: Any) -> list[str]:
    words = train_command("x.yaml", Path("x"), **options)
    place = words.index("--output_folder")
    return words[place + 2 :]


def options_of(work: Path, output: Path, **more: Any) -> list[str]:
    options = {**SMALL, "work_folder": work, "noprogressbar": True, "num_epochs": 1, **more}
    return ["--", "--output_folder", str(output), *flags(**options)]


def test_preparing_as_an_array_gives_the_bytes_of_one_process(cluster: Cluster, work, tmp_path):
    corpus = work / "corpus" / "bizspeech"
    words = [str(corpus), str(tmp_path / "array"), "--max_rejected_share", "0.6"]
    (job,) = cluster.submit(
        "prepare", "data_prepare.bizspeech", "--tasks", "3", "--cpus", "1", "--", *words
    )
    assert set(cluster.wait(job).values()) == {"COMPLETED"}, cluster.said()
    words[1] = str(tmp_path / "alone")
    cluster.call("/usr/bin/env", "python", "-m", "data_prepare.bizspeech", *words)
    alone, array = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("shard-*.tar")}
        for folder in (tmp_path / "alone", tmp_path / "array")
    )
    assert alone == array
    assert len(alone) >= 3
    assert (tmp_path / "array" / "train" / "index.json").is_file()


@pytest.mark.parametrize("way", ["ddp", "ddp_nodes"])
def test_ddp_trains_with_two_ranks_and_the_monitor_looks(cluster: Cluster, work, tmp_path, way):
    (job,) = cluster.submit(
        way, "hparams/train_ddp.yaml", "--cpus", "2", *options_of(work, tmp_path), **TWO
    )
    assert cluster.wait(job) == {job: "COMPLETED"}, cluster.said()
    record = run_json(tmp_path)
    assert record["world_size"] == 2
    assert record["utterances_trained"] == record["train_data"]["num_utterances"]
    looks = (cluster.folder / "logs" / f"monitor-{job}.txt").read_text()
    assert "memory MiB: used" in looks
    assert "train.py" in looks
    wait_until(lambda: not processes_of(job), cluster)  # the monitor has ended with the job


def test_hogwild_trains_with_two_workers(cluster: Cluster, work, tmp_path):
    (job,) = cluster.submit(
        "hogwild", "hparams/train_hogwild.yaml", "--cpus", "2", *options_of(work, tmp_path)
    )
    assert cluster.wait(job) == {job: "COMPLETED"}, cluster.said()
    record = run_json(tmp_path)
    assert len(record["hogwild"]["updates_by_worker"]) == 2
    assert record["utterances_trained"] == record["train_data"]["num_utterances"]


def train_with_time_limit(cluster: Cluster, work: Path, folder: Path, way: str, epochs: int) -> int:
    """Train with a job of two minutes, to its end; return how often it was requeued."""
    run_file = {"train": "train", "ddp": "train_ddp", "hogwild": "train_hogwild"}[way]
    # A sleeping process changes no result, but makes the run longer than the job may be.
    options = {"num_epochs": epochs, "straggler": 0, "straggler_share": 0.85}
    limits = ["--cpus", "2", "--time", "2", "--warn_s", "60"]
    words = options_of(work, folder, **options)
    (job,) = cluster.submit(way, f"hparams/{run_file}.yaml", *limits, *words, **TWO)
    assert cluster.wait(job, limit_s=900.0) == {job: "COMPLETED"}, cluster.said()
    return cluster.restarts(job)


@pytest.mark.parametrize("way", ["train", "ddp", "hogwild"])
def test_time_limit_requeues_and_the_run_goes_on_exactly(cluster: Cluster, work, tmp_path, way):
    # A fast machine may end the run within the time limit: then with more epochs.
    for epochs in (EPOCHS[way], 4 * EPOCHS[way], 16 * EPOCHS[way]):
        folder = tmp_path / f"requeued_{epochs}"
        if train_with_time_limit(cluster, work, folder, way, epochs) >= 1:
            break
    else:
        pytest.fail(f"{epochs} epochs ended within the time limit: nothing was requeued")
    record = run_json(folder)
    num = record["train_data"]["num_utterances"]
    assert record["utterances_trained"] == epochs * num
    rows = log_rows(folder)
    if way == "hogwild":  # its epochs overlap
        return
    assert [row["utterances"] for row in rows] == [num * epoch for epoch in range(1, epochs + 1)]
    if way == "train":
        straight = {**SMALL, "work_folder": work, "num_epochs": epochs}
        run(train_command("hparams/train.yaml", tmp_path / "straight", **straight)).check()
        ours, theirs = parameters(folder), parameters(tmp_path / "straight")
        assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_cancelling_leaves_no_process(cluster: Cluster, work, tmp_path):
    words = options_of(work, tmp_path, num_epochs=1000)
    (job,) = cluster.submit("hogwild", "hparams/train_hogwild.yaml", "--cpus", "2", *words)
    wait_until(lambda: (tmp_path / "train_log.jsonl").is_file(), cluster)
    assert len(processes_of(job)) >= 5  # script, monitor, step, parent, workers
    cluster.call("scancel", job)
    assert cluster.wait(job) == {job: "CANCELLED"}
    wait_until(lambda: not processes_of(job), cluster)


def test_comparison_is_an_array_and_a_report_that_waits_for_it(cluster: Cluster, work, tmp_path):
    options = {**SMALL, "work_folder": str(work), "num_epochs": 1, "max_utterance_s": 5.0}
    changed = {
        "comparison.ways": ["one", "hogwild"],
        "comparison.seeds": [1],
        "comparison.budgets": {"utterances": {"num_epochs": 1}},
        "comparison.variants": {"plain": {}},
        "comparison.batch": options.pop("max_batch_s"),  # each way sets its own
        "comparison.options": options,
    }
    words = ["--output_folder", str(tmp_path)]
    for key, value in changed.items():
        words += [f"--{key}", json.dumps(value)]
    jobs = cluster.submit("compare", "hparams/compare.yaml", "--cpus", "2", "--", *words)
    assert len(jobs) == 2
    for job in jobs:
        assert set(cluster.wait(job).values()) == {"COMPLETED"}, cluster.said()
    record = json.loads((tmp_path / "compare.json").read_text())
    assert set(record["figures"][0]["ways"]) == {"one", "hogwild"}


def wait_until(is_so: Any, cluster: Cluster) -> None:
    end = time.monotonic() + LIMIT_S
    while not is_so():
        assert time.monotonic() < end, cluster.said()
        time.sleep(0.2)
