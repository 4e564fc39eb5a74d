"""The script for all recipes and arms: its cases, its commands, and a run of it without a GPU."""

import json
from pathlib import Path

import pytest

from benchmarks import precision_gpu
from tests.conftest import ROOT
from tests.unit.data_prepare.trigger_word.sweeps import write_words


def test_cases_are_all_recipes_each_under_a_name_of_its_own():
    cases = list(precision_gpu.cases())
    assert len({case.name for case in cases}) == len(cases)
    files = {case.run_file for case in cases}
    small = {p.relative_to(ROOT).as_posix() for p in ROOT.glob("recipes/*/*/*/hparams/small.yaml")}
    assert small | {"hparams/train.yaml"} <= files
    assert all((ROOT / name).is_file() for name in files)


@pytest.mark.slow
@pytest.mark.multiproc
def test_script_runs_on_a_cpu_and_keeps_reports(tmp_path: Path):
    words = write_words(tmp_path / "words", num=8)
    how = ["--device", "cpu", "--only", "conv_gru-small", "--units", "2", "--warmup_steps", "1"]
    how += ["--timed_steps", "2", "--valid_batches", "1"]
    how += ["--runs", str(tmp_path / "runs"), "--results", str(tmp_path / "results")]
    options = ["--work_folder", str(tmp_path / "work"), "--corpus.words_folder", str(words)]
    options += ["--corpus.num_clips", "{train: 40, valid: 10, test: 10}"]
    assert precision_gpu.main([*how, "--", *options]) == 0
    names = sorted(path.name for path in (tmp_path / "results").iterdir())
    assert len(names) == 7
    (name,) = (name for name in names if name.endswith("conv_gru-small.json"))
    record = json.loads((tmp_path / "results" / name).read_text())
    assert [arm["name"] for arm in record["arms"]] == ["fp32", "bf16"]
    assert record["command"].startswith("python compare_precision.py")
