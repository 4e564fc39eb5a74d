"""Workers on this machine that die in the middle of a shard."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from data_prepare.bizspeech import prepare_bizspeech
from tests.unit.data_prepare.raw_corpora import contents, leave_out_plot, write_bizspeech
from tests.unit.data_prepare.stuck import StuckRecording

OPTIONS = {
    "train_share": 0.6,
    "valid_share": 0.2,
    "num_shards": {"train": 4},
    "progress": False,
}


@pytest.fixture(autouse=True)
def _no_plot(monkeypatch):
    leave_out_plot(monkeypatch)


@pytest.fixture
def raw(tmp_path):
    return write_bizspeech(tmp_path / "raw")


@pytest.mark.multiproc
def test_prepare_worker_killed_in_mid_shard_nothing_is_lost(raw, tmp_path, caplog):
    caplog.set_level("INFO")
    out = tmp_path / "out"
    prepare_bizspeech(raw, out, plan_only=True, **OPTIONS)
    stuck = StuckRecording(raw / "e1/recording.wav")
    with ThreadPoolExecutor(1) as thread:
        run = thread.submit(prepare_bizspeech, raw, out, num_jobs=2, **OPTIONS)
        stuck.kill_reader(mend=True, is_over=run.done)
        run.result()
    assert "replaced: 1" in caplog.text
    prepare_bizspeech(raw, tmp_path / "whole", **OPTIONS)
    assert contents(out) == contents(tmp_path / "whole")


@pytest.mark.multiproc
def test_prepare_shard_that_kills_each_worker_is_named_with_its_recordings(raw, tmp_path):
    out = tmp_path / "out"
    prepare_bizspeech(raw, out, plan_only=True, **OPTIONS)
    stuck = StuckRecording(raw / "e1/recording.wav")
    with ThreadPoolExecutor(1) as thread:
        run = thread.submit(prepare_bizspeech, raw, out, num_jobs=2, **OPTIONS)
        for _ in range(3):
            stuck.kill_reader(mend=False, is_over=run.done)
        with pytest.raises(RuntimeError, match=r"died .* 3 times .*shard-00000\d.tar.*e1/record"):
            run.result()
    stuck.mend()
    corpus = prepare_bizspeech(raw, out, **OPTIONS)
    assert json.loads((corpus.folder / "summary.json").read_text())["rejected"] == {}


@pytest.mark.multiproc
def test_prepare_worker_killed_while_it_reads_transcripts_is_replaced(raw, tmp_path):
    stuck = StuckRecording(raw / "e1/transcript_timealigned.txt")
    with ThreadPoolExecutor(1) as thread:
        run = thread.submit(prepare_bizspeech, raw, tmp_path / "out", num_jobs=2, **OPTIONS)
        stuck.kill_reader(mend=True, is_over=run.done)
        run.result()
    assert len((tmp_path / "out/train/utterances.jsonl").read_text().splitlines()) == 24


@pytest.mark.multiproc
def test_prepare_slice_killed_beside_another_runs_again(raw, tmp_path, repo_root):
    out = tmp_path / "out"
    prepare_bizspeech(raw, out, plan_only=True, **OPTIONS)
    stuck = StuckRecording(raw / "e3/recording.wav")
    words = f"{raw} {out} --train_share 0.6 --valid_share 0.2 --num_shards train=4 --slice 0/2"
    command = [sys.executable, "-m", "data_prepare.bizspeech", *words.split()]
    killed = subprocess.Popen(command, cwd=repo_root)
    with stuck.reader(is_over=lambda: killed.poll() is not None):
        assert prepare_bizspeech(raw, out, slice="1/2", **OPTIONS).splits == {}
        with pytest.raises(RuntimeError, match="slice 0/2 is being made by another process"):
            prepare_bizspeech(raw, out, slice="0/2", **OPTIONS)
        with pytest.raises(RuntimeError, match="another process prepares into this folder"):
            prepare_bizspeech(raw, out, **OPTIONS)
        assert len(list(out.rglob("*.tar.tmp-*"))) == 1
        stuck.mend()
        killed.kill()
        killed.wait()
    assert prepare_bizspeech(raw, out, slice="0/2", **OPTIONS).splits
    prepare_bizspeech(raw, tmp_path / "whole", **OPTIONS)
    assert contents(out) == contents(tmp_path / "whole")
