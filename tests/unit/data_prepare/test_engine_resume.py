import contextlib
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data_prepare.bizspeech import prepare_bizspeech
from data_prepare.manifest import prepare_manifest
from tests.unit.data_prepare.raw_corpora import (
    contents,
    leave_out_plot,
    write_bizspeech,
    write_manifest,
)

OPTIONS = {"train_share": 0.6, "valid_share": 0.2, "progress": False}


class Killed(BaseException):
    """Stands for a kill: nothing may catch it."""


def test_prepare_killed_at_any_rename_ends_with_the_same_bytes(tmp_path, monkeypatch):
    leave_out_plot(monkeypatch)
    manifest = write_manifest(tmp_path / "raw", 6, split="train")
    options = {"num_shards": {"train": 2}, "progress": False}
    rename = Path.replace

    def run(name, last):
        count = 0

        def counted(path, target):
            nonlocal count
            count += 1
            if count > last:
                raise Killed
            return rename(path, target)

        monkeypatch.setattr(Path, "replace", counted)
        prepare_manifest(manifest, tmp_path / name, **options)

    run("fresh", 1000)
    for last in range(1000):
        with contextlib.suppress(Killed):
            run(f"out{last}", last)
            break
        run(f"out{last}", 1000)
        assert contents(tmp_path / f"out{last}") == contents(tmp_path / "fresh")
    assert last >= 10


_PREPARE = """
import sys
from data_prepare.bizspeech import prepare_bizspeech
prepare_bizspeech(sys.argv[1], sys.argv[2], train_share=0.6, valid_share=0.2, progress=False,
                  num_shards={"train": 12}, num_jobs=int(sys.argv[3]))
"""


@pytest.mark.multiproc
@pytest.mark.parametrize(("num_jobs", "kill_at"), [(1, (3,)), (2, (1, 4))])
def test_prepare_process_killed_goes_on_and_ends_with_the_same_bytes(
    tmp_path, repo_root, num_jobs, kill_at
):
    raw = write_bizspeech(tmp_path / "raw", 8, num_rows=20, row_s=3.0, rate_hz=44100)
    out = tmp_path / "out"
    command = [sys.executable, "-c", _PREPARE, str(raw), str(out), str(num_jobs)]
    for num_shards in kill_at:  # so many shards are there
        process = subprocess.Popen(command, cwd=repo_root)
        while process.poll() is None and len(list(out.glob("train/shard-*.tar"))) < num_shards:
            time.sleep(0.001)
        process.kill()
        process.wait()
    receipts = list(out.glob(".work/receipts/train/*.jsonl"))
    done = [out / "train" / f"{path.stem}.tar" for path in receipts]
    times = [path.stat().st_mtime_ns for path in done]
    subprocess.run(command, check=True, cwd=repo_root)
    assert len(done) >= 2
    assert times == [path.stat().st_mtime_ns for path in done]  # not made again
    prepare_bizspeech(raw, tmp_path / "fresh", num_shards={"train": 12}, **OPTIONS)
    assert contents(out) == contents(tmp_path / "fresh")
