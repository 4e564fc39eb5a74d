"""What a comparison knows of its run files: batches and schedules of all ways follow from it."""

from pathlib import Path

import pytest

from comparing.jobs import jobs_of
from comparing.run_files import counted_in_updates, keys_of
from comparing.tuning import fixed_rates
from recipes.common.hparams import load_run
from tests.conftest import ROOT
from tests.unit.comparing.runs import small_comparison

MAIN = "hparams/train.yaml"


def commands_of(what) -> dict[str, list[str]]:
    jobs = jobs_of(what, Path("runs/x"), fixed_rates(what))
    return {job.way: list(job.command) for job in jobs if job.seed == what.seeds[0]}


def batch_of(command: list[str]) -> str | None:
    key = "--max_batch_s"
    return command[command.index(key) + 1] if key in command else None


def test_batch_other_than_that_of_the_run_file_is_given_to_every_way():
    what = small_comparison(ways=["one", "small_batch", "hogwild"], batch=16.0)
    batches = {way: batch_of(command) for way, command in commands_of(what).items()}
    assert batches == {"one": "16.0", "small_batch": "8.0", "hogwild": "16.0"}


def test_batch_of_the_run_file_is_not_given_again():
    what = small_comparison(ways=["one", "small_batch", "hogwild"], batch=20.0)
    batches = {way: batch_of(command) for way, command in commands_of(what).items()}
    assert batches == {"one": None, "small_batch": "10.0", "hogwild": None}


def test_batch_of_the_run_file_that_the_data_folder_chooses_counts():
    own = keys_of("hparams/train_bizspeech.yaml", has_data_folder=False)["max_batch_s"]
    assert keys_of(MAIN, has_data_folder=True)["max_batch_s"] == own != 20.0
    what = small_comparison(ways=["one"], options={"data_folder": "d"}, schedule={})
    assert batch_of(commands_of(what)["one"]) == "20.0"


def test_batch_among_the_options_is_refused():
    with pytest.raises(ValueError, match=r"max_batch_s is 10.0 in an option.* as `batch`"):
        small_comparison(options={"max_batch_s": 10.0})


def test_counts_of_updates_are_found_wherever_the_schedule_has_them():
    assert counted_in_updates(keys_of(MAIN, has_data_folder=False)) == [
        *("num_warmup", "num_hold", "num_decay")
    ]
    nested = {"update_schedule": {"num_hold": 550, "peak": 0.1}, "lr": 0.1}
    assert counted_in_updates(nested) == ["update_schedule.num_hold"]


def test_schedule_that_lacks_what_the_run_file_counts_is_refused():
    what = small_comparison(ways=["one", "ddp"], schedule={"num_hold": 1400, "num_decay": 1000})
    with pytest.raises(ValueError, match=r"lacks \['num_warmup'\].*ddp makes 0.5 times"):
        commands_of(what)
    assert commands_of(small_comparison(schedule={}))  # all ways make as many updates


def test_commands_of_the_main_comparison_stay_those_that_made_its_runs(monkeypatch):
    monkeypatch.chdir(ROOT)
    what = load_run(["hparams/compare.yaml"]).hparams["comparison"]
    common = "--ctc_epochs 1000 --max_grad_norm 1.0 --max_utterance_s 10.0 --num_epochs 7"
    schedules = {
        "one": "--num_warmup 200 --num_hold 1400 --num_decay 1000",
        "accumulation": "--num_warmup 100 --num_hold 700 --num_decay 500",
        "small_batch": "--num_warmup 500 --num_hold 3500 --num_decay 2500 --max_batch_s 10.0",
    }
    own = {"budgets": {"utterances": {"num_epochs": 7}}, "variants": {"plain": {}}}
    what = type(what)(**{**vars(what), **own})
    commands = commands_of(what)
    for way, schedule in schedules.items():
        more = " --grad_accumulation_factor 2" if way == "accumulation" else ""
        assert " ".join(commands[way][1:]) == (
            f"train.py {MAIN} --seed 0 --output_folder runs/x/plain/utterances/{way}/seed_0 "
            f"--noprogressbar {schedule} {common}{more}"
        )
