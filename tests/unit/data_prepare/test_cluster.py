"""Preparing with a real Dask cluster on this machine."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from data_prepare.bizspeech import prepare_bizspeech
from data_prepare.executors import open_crew
from tests.unit.data_prepare.raw_corpora import contents, leave_out_plot, write_bizspeech
from tests.unit.data_prepare.stuck import StuckRecording

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.multiproc

OPTIONS = {
    "train_share": 0.6,
    "valid_share": 0.2,
    "num_shards": {"train": 4},
    "progress": False,
}


@pytest.fixture(scope="module")
def scheduler():
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address=":0",
        silence_logs="ERROR",
    ) as cluster:
        yield cluster.scheduler_address


@pytest.fixture(autouse=True)
def _no_plot(monkeypatch):
    leave_out_plot(monkeypatch)


@pytest.fixture
def raw(tmp_path):
    return write_bizspeech(tmp_path / "raw")


@pytest.fixture
def whole(raw, tmp_path):
    prepare_bizspeech(raw, tmp_path / "whole", **OPTIONS)
    return contents(tmp_path / "whole")


def test_prepare_on_a_cluster_gives_the_same_bytes(raw, whole, tmp_path, scheduler):
    corpus = prepare_bizspeech(raw, tmp_path / "out", scheduler=scheduler, **OPTIONS)
    assert list(corpus.splits) == ["train", "valid", "test"]
    assert contents(tmp_path / "out") == whole


def test_prepare_mix_of_all_with_kills_gives_the_same_bytes(
    raw, whole, tmp_path, scheduler, caplog
):
    caplog.set_level("INFO")
    out = tmp_path / "out"
    kills = [  # slice of three, what else, a recording of this slice
        ("1/3", {"num_jobs": 2}, "e5"),
        ("2/3", {"scheduler": scheduler}, "e1"),
        (None, {"num_jobs": 2}, "e4"),
    ]
    prepare_bizspeech(raw, out, plan_only=True, scheduler=scheduler, **OPTIONS)
    for part, more, event in kills:
        stuck = StuckRecording(raw / event / "recording.wav")
        with ThreadPoolExecutor(1) as thread:
            run = thread.submit(prepare_bizspeech, raw, out, slice=part, **more, **OPTIONS)
            stuck.kill_reader(mend=True, is_over=run.done)
            run.result()
    assert caplog.text.count("replaced: 1") == 3
    assert contents(out) == whole


def test_prepare_error_of_a_cluster_worker_comes_back_as_it_is(raw, tmp_path, scheduler):
    prepare_bizspeech(raw, tmp_path / "out", plan_only=True, **OPTIONS)
    _plan_with_other_tools(tmp_path / "out")
    with pytest.raises(RuntimeError, match=r"plan was made with .*'soxr': '0.1'"):
        prepare_bizspeech(raw, tmp_path / "out", scheduler=scheduler, **OPTIONS)


def test_prepare_command_on_a_cluster_ends_with_its_error(raw, tmp_path, scheduler, repo_root):
    prepare_bizspeech(raw, tmp_path / "out", plan_only=True, **OPTIONS)
    _plan_with_other_tools(tmp_path / "out")
    words = f"{raw} {tmp_path / 'out'} --train_share 0.6 --valid_share 0.2 --num_shards train=4"
    done = subprocess.run(
        [sys.executable, "-m", "data_prepare.bizspeech", *words.split()]
        + ["--scheduler", scheduler],
        stderr=subprocess.PIPE,
        text=True,
        cwd=repo_root,
        check=False,
    )
    assert done.returncode == 2
    assert "error: prepare: " in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_open_crew_workers_that_see_no_corpus_are_told_before_work(tmp_path, scheduler):
    work, root = tmp_path / "work", tmp_path / "nowhere"
    work.mkdir()
    with (
        pytest.raises(RuntimeError, match=r"2 of 2 workers .* do not see .*nowhere.*file system"),
        open_crew(1, scheduler, work=work, root=root),
    ):
        pass
    assert list(work.iterdir()) == []


def _plan_with_other_tools(out):
    path = out / ".work/plan/plan.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"tools": content["tools"] | {"soxr": "0.1"}}))
