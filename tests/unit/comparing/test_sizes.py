"""Pictures of a comparison: runs that are not there flatter nobody."""

import json
from pathlib import Path

from comparing.groups import group
from comparing.jobs import jobs_of
from comparing.plots import size_points
from comparing.report import _sizes, pictures_of, write_report
from comparing.tuning import fixed_rates
from recipes.common.hparams import load_run
from tests.conftest import ROOT
from tests.unit.comparing.runs import diverge_job, end_job, small_comparison


def test_sizes_become_one_plot(root):
    what = small_comparison(variants={"small": {"train_shards": [0, 1]}, "large": {}})
    jobs = list(jobs_of(what, Path("runs"), fixed_rates(what)))
    for job in jobs:
        is_small = job.variant == "small"
        data = {"num_utterances": 100, "audio_s": 360.0 if is_small else 3600.0}
        reached_s = None if is_small and job.seed == 1 else 9.0 + job.seed
        wer = (30.0 if is_small else 20.0) + job.seed
        end_job(root, job, train_data=data, wer=wer, target_reached_s=reached_s)
    small = [(30.0, 9.0), (31.0, None), (32.0, 11.0)]
    large = [(20.0, 9.0), (21.0, 10.0), (22.0, 11.0)]
    groups = group(what, jobs)
    for way in what.ways:
        sizes = _sizes(what, list(groups.values()), way)
        assert sizes == {0.1: small, 1.0: large}
        assert size_points(sizes) == [(0.1, 31.0, None, True), (1.0, 21.0, 10.0, True)]
    write_report(what, groups, folder=root, command="", rates=fixed_rates(what))
    assert (root / "sizes-utterances.png").read_bytes()[:4] == b"\x89PNG"
    record = json.loads((root / "compare.json").read_text())
    assert [row["hours"] for row in record["figures"]] == [0.1, 1.0]


def test_seeds_that_are_not_there_leave_no_time_to_target():
    own = {1.0: [(20.0, 9.0), None, (22.0, 11.0)], 2.0: [None, None], 3.0: [(9.0, 3.0)]}
    assert size_points(own) == [
        (1.0, 21.0, None, False),
        (2.0, None, None, False),
        (3.0, 9, 3, True),
    ]


def test_pictures_say_how_many_seeds_are_not_there(root, monkeypatch):
    what = small_comparison(variants={"small": {"train_shards": [0, 1]}, "large": {}})
    jobs = list(jobs_of(what, Path("runs"), fixed_rates(what)))
    for job in jobs:
        data = {"num_utterances": 100, "audio_s": 360.0 if job.variant == "small" else 3600.0}
        if job.way == "hogwild" and job.variant == "small" and job.seed < 2:
            diverge_job(root, job)
        elif job.way == "one" or job.seed:
            end_job(root, job, train_data=data, target_reached_s=9.0)
    shown = {}
    monkeypatch.setattr(
        "comparing.plots._finish", lambda _, axes, title: shown.setdefault(title, axes) and b""
    )
    pictures_of(what, group(what, jobs))
    labels = {title: axes.get_legend_handles_labels()[1] for title, axes in shown.items()}
    assert labels == {
        "small, equal utterances": ["one", "hogwild (2 of 3 diverged/missing)"],
        "large, equal utterances": ["one", "hogwild (1 of 3 diverged/missing)"],
        "size of the corpus, equal utterances": ["one", "hogwild (3 of 6 diverged/missing)"],
    }
    lines = shown["size of the corpus, equal utterances"].lines
    hollow = [[*line.get_xdata()] for line in lines if line.get_markerfacecolor() == "white"]
    assert hollow == [[], [0.1, 1.0]]


def test_comparison_of_sizes_has_four_that_validate_alike(monkeypatch):
    monkeypatch.chdir(ROOT)
    what = load_run(["hparams/compare_sizes.yaml"]).hparams["comparison"]
    sizes = [options["train_shards"][1] for options in what.variants.values()]
    assert sizes == sorted(set(sizes))
    assert len(sizes) >= 4
    assert what.options["batches_per_epoch"] > 0
    assert {"one", "hogwild"} <= set(what.ways)
