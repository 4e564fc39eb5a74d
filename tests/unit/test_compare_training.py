"""The command that compares: stopped and started again, it runs everything once and reports."""

import json
import shlex
from pathlib import Path

import pytest

import compare_training
from comparing import groups, jobs, running, tuning
from tests.conftest import ROOT
from tests.unit.comparing.runs import write_run

WAYS, SEEDS, RATES = ["one", "hogwild"], [0, 1], [0.001, 0.002]


class Programs:
    """Stands in for train.py and train_hogwild.py: writes their files, or stops."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.stop_after: int | None = None

    def __call__(self, command, *, cwd, said, environment) -> int:
        if self.stop_after == len(self.told):
            return 75
        self.told.append(shlex.join(command))
        rate = float(command[command.index("--lr") + 1])
        workers = {"num_workers": 2} if "train_hogwild.py" in command else None
        seed = int(command[command.index("--seed") + 1])
        write_run(said.parent, wer=20.0 + 1000 * rate, seed=seed, workers=workers)
        return 0


@pytest.fixture
def programs(tmp_path, monkeypatch):
    found = Programs()
    monkeypatch.chdir(ROOT)
    for module in (compare_training, groups, jobs, running, tuning):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(jobs, "call", found)
    return found


@pytest.fixture
def argv(tmp_path):
    options = {"ways": WAYS, "seeds": SEEDS, "rates": RATES}
    words = ["hparams/compare.yaml", "--output_folder", "compared"]
    for key, value in options.items():
        words += [f"--comparison.{key}", json.dumps(value)]
    return words


def record_of(folder: Path) -> dict:
    return json.loads((folder / "compared" / "compare.json").read_text())


def test_comparison_that_was_stopped_goes_on_and_runs_nothing_twice(
    programs, argv, tmp_path, capsys
):
    # With equal utterances, with equal seconds, and again with a straggler.
    num_tuning, num_main = len(WAYS) * len(RATES), 3 * len(WAYS) * len(SEEDS)
    for stop_after in (1, num_tuning + 2):
        programs.stop_after = stop_after
        with pytest.raises(SystemExit) as ended:
            compare_training.main(argv)
        assert ended.value.code == 75
        assert len(programs.told) == stop_after
        assert "give the same command again" in capsys.readouterr().err
    assert not (tmp_path / "compared" / "compare.json").exists()

    assert compare_training.main([*argv, "--report_only"]) == 0
    assert len(programs.told) == num_tuning + 2
    missing = [seeds for row in record_of(tmp_path)["figures"] for seeds in row["missing"].values()]
    assert sum(map(len, missing)) == num_main - 2

    programs.stop_after = None
    assert compare_training.main(argv) == 0
    assert len(programs.told) == len(set(programs.told)) == num_tuning + num_main
    record = record_of(tmp_path)
    assert record["rates"] == dict.fromkeys(WAYS, 0.001)  # the best by validation
    assert len(record["figures"]) == 3
    for row in record["figures"]:
        assert row["missing"] == {}
        for way in WAYS:
            assert row["ways"][way]["wer"] == {str(seed): 21.0 for seed in SEEDS}
    assert "| hogwild: " in capsys.readouterr().out

    assert compare_training.main(argv) == 0
    assert len(programs.told) == num_tuning + num_main


def test_one_task_of_an_array_runs_one_job(programs, argv):
    assert compare_training.main([*argv, "--stage", "tuning", "--only", "3"]) == 0
    assert len(programs.told) == 1
    assert "rate_0.002" in programs.told[0] or "--lr 0.002" in programs.told[0]


def test_report_of_nothing_is_refused(programs, argv, capsys):
    with pytest.raises(SystemExit) as ended:
        compare_training.main([*argv, "--report_only"])
    assert ended.value.code == 2
    assert "the runs that choose learning rates are not all there" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        compare_training.main([*argv[:-2], "--report_only"])  # no rates to choose from
    assert "no run has ended" in capsys.readouterr().err
    assert not programs.told


def test_two_comparisons_never_write_into_one_folder(programs, argv, tmp_path, capsys):
    with jobs.locked(tmp_path / "compared"), pytest.raises(SystemExit) as ended:
        compare_training.main(argv)
    assert ended.value.code == 2
    assert "another process is writing here" in capsys.readouterr().err
    assert not programs.told
