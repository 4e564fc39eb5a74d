"""Runs of another command count neither in reports nor for a choice of rates."""

import json
import shutil
from pathlib import Path

import pytest

import compare_training
from comparing import groups as groups_module
from comparing import jobs as jobs_module
from comparing import running, tuning
from comparing.groups import group
from comparing.jobs import NOTE, jobs_of, run, tuning_jobs
from comparing.report import write_report
from comparing.tuning import best_rates, fixed_rates
from tests.conftest import ROOT
from tests.unit.comparing.runs import diverge_job, end_job, small_comparison, write_run


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    for module in (compare_training, jobs_module, groups_module, running, tuning):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    return tmp_path


def comparison(max_seconds: float = 300.0, **options):
    return small_comparison(budgets={"seconds": {"max_seconds": max_seconds}}, **options)


def all_jobs(what, folder: Path = Path("runs")):
    return list(jobs_of(what, folder, fixed_rates(what)))


def test_state_is_that_of_a_run_of_this_command_only(root):
    done, diverged, missing, begun, *_ = all_jobs(comparison())
    end_job(root, done)
    diverge_job(root, diverged)
    (root / begun.folder).mkdir(parents=True)
    (root / begun.folder / NOTE).write_text(begun.told)
    states = [job.state for job in (done, diverged, missing, begun)]
    assert states == ["done", "diverged", "missing", "missing"]
    others = all_jobs(comparison(600.0))
    assert [job.state for job in others[:4]] == ["other", "other", "missing", "other"]


def test_run_without_a_note_is_of_an_unknown_command(root):
    job = all_jobs(comparison())[0]
    write_run(root / job.folder)
    assert job.state == "other"
    with pytest.raises(ValueError, match=r"another command:\n\(no job.txt tells which\)"):
        run(job)


def test_folder_may_be_moved_or_named_in_another_way(root):
    job = all_jobs(comparison())[0]
    end_job(root, job)
    assert all_jobs(comparison(), root / "runs")[0].state == "done"
    shutil.move(root / "runs", root / "elsewhere")
    moved = all_jobs(comparison(), Path("elsewhere"))[0]
    assert moved.state == "done"
    run(moved)  # is not repeated


def test_report_leaves_out_runs_of_another_command_and_lists_them(root):
    before, now = all_jobs(comparison()), all_jobs(comparison(600.0))
    for old, job in zip(before, now, strict=True):
        end_job(root, old if job.seed == 2 else job, seed=job.seed)
    what = comparison(600.0)
    path = write_report(what, group(what, now), folder=root, command="", rates=fixed_rates(what))
    text = path.read_text()
    told = "made by another command (plain, seconds): one seed 2, hogwild seed 2"
    assert f"- warning: {told}" in text
    assert text.count("(1 of 3 made by another command)") == 2
    figures = json.loads((root / "compare.json").read_text())["figures"][0]
    assert figures["other"] == {"one": [2], "hogwild": [2]}
    assert [*figures["ways"]["one"]["wer"]] == ["0", "1"]


def test_rates_are_chosen_by_runs_of_this_command_only(root):
    what = comparison(rates=[0.1, 0.2])
    jobs = list(tuning_jobs(what, Path("runs")))
    for job in jobs[1:]:
        end_job(root, job)
    with pytest.raises(ValueError, match=r"(?s)not finished: [^\n]*, one, seed 1000, rate 0.1\n"):
        best_rates(what, jobs)
    end_job(root, jobs[0])
    assert best_rates(what, jobs)[0]
    others = list(tuning_jobs(comparison(600.0, rates=[0.1, 0.2]), Path("runs")))
    with pytest.raises(ValueError, match=r"made by another command: plain, seconds, one"):
        best_rates(what, others)


@pytest.fixture
def argv(monkeypatch):
    monkeypatch.chdir(ROOT)
    words = ["hparams/compare.yaml", "--output_folder", "compared", "--comparison.ways", "[one]"]
    words += ["--comparison.seeds", "[0]", "--comparison.variants", "{plain: {}}"]
    return [*words, "--comparison.budgets", "{utterances: {num_epochs: 7}}"]


def test_report_only_refuses_runs_of_other_options(argv, root, capsys):
    what = compare_training.load_run(argv).hparams["comparison"]
    for job in jobs_of(what, Path("compared"), fixed_rates(what)):
        end_job(root, job)
    assert compare_training.main([*argv, "--report_only"]) == 0
    with pytest.raises(SystemExit):
        compare_training.main([*argv[:-1], "{utterances: {num_epochs: 8}}", "--report_only"])
    assert "no run has ended, and 1 were made by another command" in capsys.readouterr().err


def test_no_rate_is_shown_before_it_is_chosen(argv, root, capsys):
    argv = [*argv, "--comparison.rates", "[0.001, 0.002]"]
    what = compare_training.load_run(argv).hparams["comparison"]
    assert compare_training.main([*argv, "--list", "--stage", "main"]) == 0
    told = capsys.readouterr().out
    assert "0.001" not in told
    assert "The tuning runs choose a --lr" in told
    with pytest.raises(SystemExit):
        compare_training.main([*argv, "--report_only"])
    assert (
        "not finished: plain, utterances, one, seed 1000, rate 0.001; " in capsys.readouterr().err
    )
    for job in tuning_jobs(what, Path("compared")):
        end_job(root, job, wer=1000 * job.rate)
    assert compare_training.main([*argv, "--list", "--stage", "main"]) == 0
    assert "--lr 0.001" in capsys.readouterr().out
