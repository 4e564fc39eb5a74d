"""More is better or less is: everything that compares knows it from one place."""

import importlib
import json
import re
from pathlib import Path

import pytest

from comparing import groups as groups_module
from comparing import jobs as jobs_module
from comparing import tuning as tuning_module
from comparing.figures import best_so_far, fault_of, is_higher_better
from comparing.groups import group
from comparing.jobs import jobs_of, tuning_jobs
from comparing.ledger import Ledger
from comparing.plots import curves_png
from comparing.records import read_record
from comparing.report import write_report
from comparing.tuning import best_rates, fixed_rates
from tests.conftest import ROOT
from tests.unit.comparing.runs import end_job, small_comparison

NEITHER = {"compression", "bce_prior"}
"""Figures of validations that are no aim."""


@pytest.fixture
def root(tmp_path, monkeypatch):
    for module in (jobs_module, groups_module, tuning_module):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    return tmp_path


def test_every_recipe_s_figures_of_validation_are_known():
    found = set()
    for path in (ROOT / "recipes").rglob("*.py"):
        if re.search(r"^    valid_figures = ", path.read_text(), re.MULTILINE):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            module = importlib.import_module(name)
            owners = [own for own in vars(module).values() if hasattr(own, "valid_figures")]
            found |= {figure for own in owners for figure in own.valid_figures}
    assert {"wer", "bleu", "event_f1", "perplexity"} <= found
    assert fault_of(found - NEITHER) is None
    assert fault_of(["wer", "wer native", "bleu q-and-a"]) is None


def test_figure_that_nobody_knows_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"'compression'\] are not known .*'bleu'"):
        is_higher_better("compression")
    with pytest.raises(ValueError, match=r"metrics, valid_metric: \['taste', 'smell'\]"):
        small_comparison(metrics=["wer", "taste"], valid_metric="smell")
    with pytest.raises(ValueError, match=r"report: metric: \['taste'\]"):
        Ledger(tmp_path, metric="taste")


@pytest.mark.parametrize(("name", "wanted"), [("wer", [5, 5, 2]), ("bleu native", [5, 9, 9])])
def test_best_so_far_is_the_lowest_or_the_highest(name, wanted):
    assert best_so_far(name, [5, 9, 2]) == wanted
    assert best_so_far(name, []) == []


def end_with_bleu(root: Path, job, bleu: float) -> None:
    """Write a run whose translations become better, then a little worse again."""
    end_job(root, job, seed=job.seed, results={"test": {"bleu": bleu}})
    path = root / job.folder / "train_log.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row, value in zip([r for r in rows if "wer" in r], (bleu, bleu - 1), strict=True):
        row["bleu"] = value
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_verdicts_and_best_validations_follow_the_metric(root):
    what = small_comparison(metrics=["bleu"], valid_metric="bleu")
    jobs = list(jobs_of(what, Path("runs"), fixed_rates(what)))
    for job in jobs:
        end_with_bleu(root, job, 20.0 + 0.1 * job.seed + (job.way == "hogwild"))
    path = write_report(what, group(what, jobs), folder=root, command="", rates=fixed_rates(what))
    text = path.read_text()
    assert re.search(r"\| bleu \| hogwild \| one \| .* \| hogwild is better than one \|", text)
    assert re.search(r"\| valid at equal seconds \| hogwild .* is better than one \|", text)
    ways = json.loads((root / "compare.json").read_text())["figures"][0]["ways"]
    assert ways["one"]["valid"] == {"0": 20.0, "1": 20.1, "2": 20.2}


def test_rate_of_the_highest_figure_is_chosen(root):
    what = small_comparison(rates=[0.1, 0.2], metrics=["bleu"], valid_metric="bleu")
    jobs = list(tuning_jobs(what, Path("runs")))
    for job in jobs:
        end_with_bleu(root, job, 100 * job.rate)
    assert best_rates(what, jobs)[0] == {"one": 0.2, "hogwild": 0.2}


def test_curves_show_the_best_so_far_and_cut_error_rates_only(root, monkeypatch):
    (job,) = jobs_of(small_comparison(ways=["one"], seeds=[0]), Path("runs"), {"one": None})
    end_with_bleu(root, job, 20.0)
    shown = []
    monkeypatch.setattr("comparing.plots._finish", lambda _, axes, title: shown.append(axes))
    for metric in ("bleu", "wer"):
        records = {"one": {0: read_record(root / job.folder, metric=metric)}}
        curves_png(records, over="updates", metric=metric, title="")
    bleu, wer = ([*axes.lines[0].get_ydata()] for axes in shown)
    assert bleu == [20.0, 20.0]
    assert wer == [90.0, 21.0]
