"""Which runs a comparison has, and how each is started."""

import sys
from pathlib import Path

import pytest

from comparing import jobs as jobs_module
from comparing.jobs import jobs_of, run, tuning_jobs
from comparing.tuning import best_rates, fixed_rates
from comparing.ways import ways_of
from recipes.common import divergence
from recipes.common.folder_lock import locked
from recipes.common.hparams import load_run
from recipes.common.stop_file import VARIABLE, RunStopped
from tests.conftest import ROOT
from tests.unit.comparing.runs import diverge_job, end_job, small_comparison, write_run

ALL = list(ways_of(2))


def flags(job) -> dict[str, str]:
    words = [word for word in job.command if word != "--noprogressbar"]
    return {w[2:]: v for w, v in zip(words, words[1:], strict=False) if w.startswith("--")}


def one_of_each(what):
    return {
        job.way: job for job in jobs_of(what, Path("runs/x"), fixed_rates(what)) if job.seed == 0
    }


def test_every_combination_is_trained_once():
    what = small_comparison(
        budgets={"utterances": {}, "seconds": {"max_seconds": 9}},
        variants={"plain": {}, "slow": {"straggler": 1, "budgets": ["seconds"]}},
    )
    jobs = list(jobs_of(what, Path("runs/x"), fixed_rates(what)))
    keys = {(job.variant, job.budget, job.way, job.seed) for job in jobs}
    assert len(keys) == len(jobs) == 3 * 2 * 3
    assert not [key for key in keys if key[:2] == ("slow", "utterances")]
    assert len({job.folder for job in jobs}) == len(jobs)


def test_ways_take_turns_and_another_one_begins_with_each_seed():
    what = small_comparison(ways=["one", "ddp", "hogwild"])
    order = [job.way for job in jobs_of(what, Path("runs/x"), fixed_rates(what))]
    assert order == ["one", "ddp", "hogwild", "ddp", "hogwild", "one", "hogwild", "one", "ddp"]


def test_schedules_follow_the_updates_and_batches_their_share():
    what = small_comparison(ways=ALL, batch=20.0)
    found = {way: flags(job) for way, job in one_of_each(what).items()}
    warmups = {way: int(own["num_warmup"]) for way, own in found.items()}
    assert {way for way, num in warmups.items() if num == 200} == {
        *("one", "one_all_cores", "ddp_small_batch", "hogwild", "hogwild_twice")
    }
    assert {way for way, num in warmups.items() if num == 100} == {"accumulation", "ddp"}
    assert {way for way, num in warmups.items() if num == 400} == {
        "small_batch",
        "hogwild_small_batch",
    }
    batches = {way: own.get("max_batch_s") for way, own in found.items()}
    assert {way for way, batch in batches.items() if batch == "10.0"} == {
        *("small_batch", "ddp_small_batch", "hogwild_small_batch")
    }
    assert found["accumulation"]["grad_accumulation_factor"] == "2"
    assert found["one_all_cores"]["num_threads"] == "null"
    assert found["hogwild_twice"]["hogwild.num_workers"] == "4"


@pytest.mark.parametrize(
    "words",
    [
        ["hparams/compare.yaml"],
        ["hparams/compare_prepared.yaml", "--shards_folder", "a folder"],
    ],
    ids=["default", "prepared"],
)
@pytest.mark.parametrize("way", ALL)
def test_command_is_one_that_the_program_takes(way, words, monkeypatch):
    monkeypatch.chdir(ROOT)
    what = load_run(words).hparams["comparison"]
    what = type(what)(**{**vars(what), "ways": [way], "seeds": [0]})
    for job in jobs_of(what, Path("runs/x"), fixed_rates(what)):
        place = next(n for n, word in enumerate(job.command) if word.endswith(".yaml"))
        with pytest.raises(SystemExit) as ended:
            load_run([*job.command[place:], "--dry_run"])
        assert ended.value.code == 0


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"ways": ["two"]}, "ways: 'two' is not known"),
        ({"processes": 1}, "processes: is 1"),
        ({"seeds": [1, 1]}, "seeds: is"),
        ({"seeds": [1000]}, "tuning_seed"),
        ({"variants": {"a": {"budgets": ["b"]}}}, "variants: a has budgets"),
        ({"way_options": {"ddp": {}}}, "way_options: 'ddp'"),
        ({"updates": {"half": 2.5}}, "updates: 'half' has 2.5"),
        ({"updates": {"ddp": 0}}, "updates: 'ddp' has 0"),
        ({"updates": {"ddp": True}}, "updates: 'ddp' has True"),
        ({"updates": {"ddp": float("inf")}}, "updates: 'ddp' has inf"),
    ],
)
def test_wrong_comparison_is_told(options, fault):
    with pytest.raises(ValueError, match=fault):
        small_comparison(**options)


@pytest.fixture
def job(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs_module, "ROOT", tmp_path)
    what = small_comparison(seeds=[0], ways=["one"])
    (found,) = jobs_of(what, Path("runs"), fixed_rates(what))
    return found


def with_command(job, code: str):
    return type(job)(**{**vars(job), "command": [sys.executable, "-c", code]})


def test_run_that_fails_is_told_with_what_it_said(job):
    with pytest.raises(RuntimeError, match=r"(?s)ended with code 3.*no such thing"):
        run(with_command(job, "print('no such thing'); raise SystemExit(3)"))


def test_run_that_has_ended_is_not_repeated(job, tmp_path, monkeypatch):
    ended = with_command(job, "")
    run(ended)
    write_run(tmp_path / job.folder)
    monkeypatch.setattr(jobs_module, "call", lambda *args, **options: pytest.fail("ran again"))
    run(ended)


def test_run_that_diverges_is_a_result_and_is_not_repeated(job, tmp_path, monkeypatch):
    file = tmp_path / job.folder / divergence.FILE
    code = f"open({str(file)!r}, 'w').write('no number'); raise SystemExit(1)"
    diverging = with_command(job, code)
    run(diverging)
    assert diverging.is_diverged
    monkeypatch.setattr(jobs_module, "call", lambda *args, **options: pytest.fail("ran again"))
    run(diverging)
    write_run(tmp_path / job.folder)
    assert not diverging.is_diverged  # it was run again by hand, with results


@pytest.mark.parametrize(("code", "is_asked"), [(75, False), (1, True)])
def test_run_that_was_asked_to_stop_says_how_to_go_on(
    job, tmp_path, monkeypatch, capsys, code, is_asked
):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "stop"))
    if is_asked:  # torchrun ends with 1
        (tmp_path / "stop").touch()
    with pytest.raises(RunStopped) as ended:
        run(with_command(job, f"raise SystemExit({code})"))
    assert ended.value.code == 75
    assert "was asked to stop" in capsys.readouterr().err


def test_folder_that_another_process_writes_is_refused(job, tmp_path):
    with (
        locked(tmp_path / job.folder),
        pytest.raises(ValueError, match="another process is writing here"),
    ):
        run(with_command(job, ""))
    with locked(tmp_path, is_shared=True), locked(tmp_path, is_shared=True):
        pass
    run(with_command(job, ""))


def test_folder_of_another_command_is_refused(job):
    run(with_command(job, ""))
    with pytest.raises(ValueError, match="run of another command"):
        run(with_command(job, "1"))


def test_each_way_takes_its_best_rate_by_validation(tmp_path):
    what = small_comparison(rates=[0.1, 0.2, 0.4])
    jobs = list(tuning_jobs(what, tmp_path))
    assert len(jobs) == 6
    assert {job.seed for job in jobs} == {1000}
    best = {"one": 0.4, "hogwild": 0.1}
    for job in jobs:
        valid = 10.0 if job.rate == best[job.way] else 30.0
        end_job(tmp_path, job, wer=1 / valid, curve=[(100, 1.0, valid)])  # test: misleads
    rates, rows = best_rates(what, jobs)
    assert rates == best
    assert len(rows) == 6
    bad = next(job for job in jobs if (job.way, job.rate) == ("one", 0.4))
    diverge_job(tmp_path, bad)
    rates, rows = best_rates(what, jobs)
    assert rates == {"one": 0.1, "hogwild": 0.1}
    assert {"way": "one", "rate": 0.4, "diverged": True, "wer": None} in rows
    assert not list(tuning_jobs(small_comparison(rates=[0.1]), tmp_path))
    assert fixed_rates(small_comparison(rates=[0.1])) == {"one": 0.1, "hogwild": 0.1}


def test_way_that_diverges_at_every_rate_is_refused(tmp_path):
    what = small_comparison(rates=[0.1, 0.2], ways=["one"])
    jobs = list(tuning_jobs(what, tmp_path))
    for job in jobs:
        diverge_job(tmp_path, job)
    with pytest.raises(ValueError, match=r"one diverged .* \[0.1, 0.2\]"):
        best_rates(what, jobs)
