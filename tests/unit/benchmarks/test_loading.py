"""The loading benchmark in its smallest form: every contestant delivers, the report is written."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import loading, measuring
from benchmarks.loading_corpus import LOOSE, SHAR, TAR, export_loose, export_shar, files_of
from benchmarks.loading_peers import CONTESTANTS, run_pass
from data_prepare.index import ShardIndex
from tests.unit.data_prepare.corpora import random_shards, write_split

NUM_UTTERANCES = 30


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("loading")
    shards = random_shards(NUM_UTTERANCES, num_shards=3)
    index = ShardIndex.load(write_split(work / TAR / "train", shards))
    for name, export in ((SHAR, export_shar), (LOOSE, export_loose)):
        (work / name).mkdir()
        export(index, work / name)
    return work


@pytest.mark.parametrize("name", set(CONTESTANTS) - {"bare"})
def test_contestant_delivers_everything_once(work, name):
    index = ShardIndex.load(work / TAR / "train")
    request = {"batch_s": 2.0, "workers": 0, "seed": 1}
    row = run_pass(CONTESTANTS[name](work), request) | {"contestant": name}
    loading.check([row], index)
    assert row["batches"] > 1
    assert 0 <= row["padding_share"] < 0.6


def test_check_notices_a_lost_utterance(work):
    index = ShardIndex.load(work / TAR / "train")
    row = CONTESTANTS["bare"](work).run({"workers": 0}) | {"contestant": "bare"}
    loading.check([row], index)
    with pytest.raises(RuntimeError, match="bare gave 29 utterances"):
        loading.check([row | {"utterances": 29}], index)


@pytest.mark.multiproc
def test_command_writes_a_report(work, tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "make_corpus", lambda work, **_: work / TAR / "train")
    options = ["--quick", "--cache", "cold", "--contestants", "ours", "--workers", "1"]
    assert loading.main([*options, "--work", str(work), "--results", str(tmp_path)]) == 0
    (path,) = tmp_path.glob("*-loading-cold-30s.json")
    record = json.loads(path.read_text())
    assert record["passes"][0]["utterances"] == NUM_UTTERANCES
    assert record["memory"][0]["main_uss_mib"] > 0
    report = path.with_suffix(".md").read_text()
    assert "| ours |" in report
    assert record["commit"] is None or record["commit"] in report


PARENT = """
import subprocess, sys
hold = "import sys; block = bytearray({} << 20); sys.stdin.read()"
for mib in (1, 64):
    subprocess.Popen([sys.executable, "-c", hold.format(mib)], stdin=subprocess.PIPE)
sys.stdin.read()
"""


@pytest.mark.multiproc
def test_peak_memory_is_that_of_the_process_and_of_its_largest_child():
    with (
        subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE) as parent,
        measuring.PeakMemory(parent.pid) as memory,
    ):
        while memory.summary().get("worker_uss_mib", 0) < 64:
            time.sleep(0.01)
        parent.communicate()
    assert len(memory.peaks) == 3
    found = memory.summary()
    assert 1 < found["main_uss_mib"] < 64
    assert 64 < found["worker_uss_mib"] < 64 + 50


def test_resident_share_is_all_of_a_file_just_read(work):
    paths = files_of("ours", work)
    for path in paths:
        path.read_bytes()
    assert measuring.resident_share(paths) == 1.0
    measuring.evict(paths)
    assert 0 <= measuring.resident_share(paths) <= 1.0
