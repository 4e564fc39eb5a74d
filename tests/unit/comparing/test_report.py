"""The report of a comparison: its figures are those of the runs, in every form alike."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from comparing import groups as groups_module
from comparing import jobs as jobs_module
from comparing.groups import group, machine_text
from comparing.jobs import jobs_of
from comparing.report import write_report
from comparing.tuning import fixed_rates
from recipes.common.machine import machine
from tests.unit.comparing.runs import MACHINE, diverge_job, end_job, small_comparison

WER = {"one": [20.0, 21.0, 22.5], "ddp": [20.5, 21.0, 22.0], "hogwild": [18.0, 19.5, 20.0]}


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    for module in (jobs_module, groups_module):
        monkeypatch.setattr(module, "ROOT", tmp_path)


def report_of(what, jobs, folder: Path) -> str:
    rates = fixed_rates(what)
    path = write_report(what, group(what, jobs), folder=folder, command="", rates=rates)
    return path.read_text()


def line_of(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(start))


@pytest.fixture
def compared(tmp_path):
    what = small_comparison(ways=list(WER))
    jobs = list(jobs_of(what, Path("runs"), fixed_rates(what)))
    for job in jobs:
        workers = {"num_workers": 2, "staleness_mean": 0.9, "staleness_p95": 2}
        end_job(
            tmp_path,
            job,
            wer=WER[job.way][job.seed],
            seed=job.seed,
            updates=25 if job.way == "ddp" else 50,
            seconds_per_epoch=6.0 if job.way == "hogwild" else 10.0,
            target_reached_s=15.0 if job.way != "hogwild" or job.seed else None,
            workers=workers if job.way == "hogwild" else None,
        )
    path = write_report(
        what, group(what, jobs), folder=tmp_path, command="python x", rates=fixed_rates(what)
    )
    return tmp_path, what, jobs, path.read_text()


def test_table_holds_medians_intervals_and_who_never_reached_the_target(compared):
    _, _, _, text = compared
    one = next(line for line in text.splitlines() if line.startswith("| one:"))
    assert "| 21.00 (18.04 to 24.29) |" in one
    hogwild = next(line for line in text.splitlines() if line.startswith("| hogwild:"))
    assert "| - (2 of 3) |" in hogwild
    assert "| 0.90 (0.90 to 0.90) |" in hogwild


def test_verdict_is_given_where_the_interval_allows_it(compared):
    _, _, _, text = compared
    line = line_of(text, "| WER % | hogwild | one")
    assert "| -2.00 | -3.24 to -0.76 | hogwild is better than one |" in line
    assert "| no difference shown |" in line_of(text, "| WER % | ddp | one")
    assert "| not every seed has it |" in line_of(text, "| s to target | hogwild | one")


def test_verdict_is_given_for_each_pair_of_ways(compared):
    _, _, _, text = compared
    pairs = [line.split(" | ")[1:3] for line in text.splitlines() if line.startswith("| WER % |")]
    assert pairs == [["ddp", "one"], ["hogwild", "one"], ["hogwild", "ddp"]]
    line = line_of(text, "| WER % | hogwild | ddp")
    assert "| -2.00 | -3.24 to -0.76 | hogwild is better than ddp |" in line


def test_one_seed_gives_too_few_pairs(tmp_path):
    what = small_comparison(seeds=[0, 1], ways=["one", "hogwild"])
    jobs = list(jobs_of(what, Path("runs"), fixed_rates(what)))
    for job in jobs[:3]:
        end_job(tmp_path, job, seed=job.seed)
    assert "| too few pairs |" in line_of(report_of(what, jobs, tmp_path), "| WER % | hogwild")


def test_json_has_every_figure_of_every_run(compared):
    folder, _, jobs, _ = compared
    record = json.loads((folder / "compare.json").read_text())
    assert record["figures"][0]["hours"] == 0.1
    for job in jobs:
        own = record["figures"][0]["ways"][job.way]
        assert own["wer"][str(job.seed)] == WER[job.way][job.seed]
        each_s = 6.0 if job.way == "hogwild" else 10.0
        assert record["figures"][0]["curves"][job.way][str(job.seed)] == {
            "updates": [25, 50],
            "utterances": [100, 200],
            "began_s": [each_s - 0.5, 2 * each_s - 0.5],
            "seconds": [each_s, 2 * each_s],
            "value": [90.0, WER[job.way][job.seed] + 1.0],
        }
    for name in ("seconds", "utterances"):
        assert (folder / f"plain-utterances-{name}.png").read_bytes()[:4] == b"\x89PNG"


def test_runs_of_other_data_are_not_compared(compared):
    folder, what, jobs, _ = compared
    end_job(folder, jobs[0], index_checksums={"train": "y"})
    with pytest.raises(ValueError, match=r"other data or models:\n.*one seed 0"):
        write_report(what, group(what, jobs), folder=folder, command="", rates=fixed_rates(what))


def write_yaml(folder: Path, *, seed: int, rate: float, corpus_seed: int = 1) -> None:
    (folder / "hyperparams.yaml").write_text(
        f"# a comment of {folder}\nseed: {seed}\noutput_folder: {folder}\nlr: {rate}\n"
        f"corpus:\n  seed: {corpus_seed}\nloader:\n  seed: {seed}\n"
        f"checkpoints: {folder}/checkpoints\n"
    )


def test_runs_of_one_way_may_differ_in_seed_and_folder_only(compared):
    folder, what, jobs, _ = compared
    for job in jobs:
        write_yaml(folder / job.folder, seed=job.seed, rate=0.1)
    report_of(what, jobs, folder)
    last = next(job for job in jobs if (job.way, job.seed) == ("ddp", 2))
    for wrong in ({"rate": 0.2}, {"rate": 0.1, "corpus_seed": 3}):
        write_yaml(folder / last.folder, seed=2, **wrong)
        with pytest.raises(ValueError, match=r"plain, utterances, ddp had other hyperparameters"):
            report_of(what, jobs, folder)


OTHER = {**MACHINE, "processor": "a slow processor"}


@pytest.mark.parametrize("budgets", [{"utterances": {}}, {"seconds": {"max_seconds": 20}}])
def test_times_of_different_machines_are_no_pair(compared, budgets):
    folder, _, _, _ = compared
    what = small_comparison(ways=list(WER), budgets=budgets)
    jobs = list(jobs_of(what, Path("runs"), fixed_rates(what)))
    for job in jobs:
        is_apart = job.way == "ddp" or (job.way, job.seed) == ("hogwild", 2)
        places = {"machine": OTHER} if is_apart else {}
        end_job(folder, job, wer=WER[job.way][job.seed], seed=job.seed, **places)
    text = report_of(what, jobs, folder)
    (budget,) = budgets
    kinds = ["a processor, 7 cores, no GPU", "a slow processor, 7 cores, no GPU"]
    told = f"one, hogwild: {kinds[0]}; ddp, hogwild: {kinds[1]}"
    assert f"- warning: times (plain, {budget}) are not of one machine: {told}\n" in text
    none = "| too few pairs on the same machine |"
    assert none in line_of(text, "| utterances/s | ddp | one")
    # Two pairs are left.
    assert "| no difference shown |" in line_of(text, "| utterances/s | hogwild | one")
    # The difference of the error rate is -2, -1.5, -2.5 in all pairs; with equal seconds the last
    # one is on another machine.
    is_timed = budget == "seconds"
    difference = "-1.75" if is_timed else "-2.00"
    assert f"| {difference} |" in line_of(text, "| WER % | hogwild | one")
    assert (none in line_of(text, "| WER % | ddp | one")) == is_timed


def test_commits_machines_and_packages_are_those_of_the_runs(compared):
    folder, what, jobs, text = compared
    assert "warning" not in text
    one = "a processor, 7 cores, 15.5 GiB, no GPU, Python 3.11.0"
    assert line_of(text, "- machines of the runs") == f"- machines of the runs: {one}"
    assert "- packages of the runs: torch 2.0, speechbrain 1.1" in text
    assert f"- report written on: {machine_text(machine())}; commit " in text
    place, packages = {**MACHINE, "gpus": ["a GPU"]}, {"torch": "2.1"}
    end_job(folder, jobs[0], commit="b" * 40, machine=place, packages=packages)
    text = report_of(what, jobs, folder)
    other = one.replace("no GPU", "a GPU")
    assert f"- warning: runs of 2 commits: {'a' * 40}; {'b' * 40}" in text
    assert f"- warning: runs of 2 machines: {other}; {one}" in text
    assert "- warning: runs of 2 sets of packages: torch 2.0, speechbrain 1.1; torch 2.1" in text
    record = json.loads((folder / "compare.json").read_text())
    assert record["machines_of_runs"] == [place, MACHINE]
    assert len(record["packages_of_runs"]) == 2
    assert {"machine", "packages", "commit"} == set(record["written_on"])


def test_run_that_went_on_elsewhere_is_told(compared):
    folder, what, jobs, _ = compared
    first = {"commit": "c" * 40, "machine": {**MACHINE, "cores": 3}}
    end_job(folder, jobs[0], starts=[first, {"commit": "a" * 40, "machine": MACHINE}])
    text = report_of(what, jobs, folder)
    assert f"- warning: runs of 2 commits: {'a' * 40}; {'c' * 40}" in text
    assert "- warning: runs of 2 machines: a processor, 3 cores" in text


def test_runs_that_are_missing_are_marked(compared):
    folder, what, jobs, _ = compared
    missing = next(job for job in jobs if (job.way, job.seed) == ("ddp", 2))
    (folder / missing.folder / "run.json").unlink()
    text = report_of(what, jobs, folder)
    assert "- warning: not finished (plain, utterances): ddp seed 2" in text
    assert "(1 of 3 not finished) | 20.75 " in line_of(text, "| ddp: ")
    record = json.loads((folder / "compare.json").read_text())
    assert record["figures"][0]["missing"] == {"ddp": [2]}


def test_variant_that_has_not_begun_is_marked(tmp_path):
    what = small_comparison(variants={"plain": {}, "straggler": {"straggler": 0}}, seeds=[0])
    jobs = list(jobs_of(what, Path("runs"), fixed_rates(what)))
    for job in jobs[:2]:
        end_job(tmp_path, job)
    text = report_of(what, jobs, tmp_path)
    assert "not finished (straggler, utterances): one seed 0, hogwild seed 0" in text
    assert text.count("(1 of 1 not finished)") == 2


def test_run_that_diverged_is_told_and_decides_no_median(compared):
    folder, what, jobs, _ = compared
    bad = next(job for job in jobs if (job.way, job.seed) == ("ddp", 2))
    diverge_job(folder, bad)
    text = report_of(what, jobs, folder)
    assert "| diverged (1 of 3) | diverged (1 of 3) |" in line_of(text, "| ddp: ")
    assert "| not every seed has it |" in line_of(text, "| WER % | ddp | one")
    record = json.loads((folder / "compare.json").read_text())
    assert record["figures"][0]["diverged"] == {"ddp": [2]}
    assert record["figures"][0]["ways"]["ddp"]["wer"] == {"0": 20.5, "1": 21.0, "2": None}


# --- in a browser --------------------------------------------------------------------------------

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium: the page is looked at by a browser where there is one"
)
ROW = re.compile(r"<tr([^>]*)>(.*?)</tr>", re.DOTALL)
CELL = re.compile(r"<t[dh][^>]*>(.*?)</t[dh]>", re.DOTALL)


def rendered(path: Path, fragment: str, profile: Path) -> list[list[list[str]]]:
    """Return the tables as the browser has them after the page's script ran: rows of cells."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
    options += ["--disable-background-networking", "--disable-component-update"]
    command = [str(CHROMIUM), *options, f"--user-data-dir={profile}", "--dump-dom"]
    done = subprocess.run(
        [*command, f"file://{path}{fragment}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    tables = re.findall(r"<table.*?</table>", done.stdout, re.DOTALL)
    rows = [ROW.findall(table) for table in tables]
    return [[CELL.findall(row) for tag, row in own if "hidden" not in tag] for own in rows]


@needs_browser
@pytest.mark.multiproc
def test_page_renders_sorts_and_shows_the_figures_of_the_json(compared):
    folder = compared[0]
    record = json.loads((folder / "compare.json").read_text())
    page = folder / "compare.html"
    shown = rendered(page, "", folder / "profile")
    for table, wanted in zip(shown, record["tables"], strict=True):
        assert table[0] == wanted["header"]
        assert table[1:] == [[cell["text"] for cell in row] for row in wanted["rows"]]
    by_wer = rendered(page, "#sort=0,1", folder / "profile")[0]
    assert [row[0].split(":")[0] for row in by_wer[1:]] == ["hogwild", "one", "ddp"]
    kept = rendered(page, "#filter=HOGWILD+batch", folder / "profile")[0]
    assert [row[0].split(":")[0] for row in kept[1:]] == ["hogwild"]


@needs_browser
@pytest.mark.multiproc
def test_page_needs_no_other_file(compared):
    text = (compared[0] / "compare.html").read_text()
    assert not re.findall(r"(?:src|href)=\"(?!data:)[^\"#]+", text)
    assert (
        json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])["command"]
        == "python x"
    )
