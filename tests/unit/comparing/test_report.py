"""The report of a comparison: its figures are those of the runs, in every form alike."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from comparing import jobs as jobs_module
from comparing import report as report_module
from comparing.jobs import jobs_of
from comparing.report import group, write_report
from comparing.tuning import fixed_rates
from tests.unit.comparing.runs import small_comparison, write_run

WER = {"one": [20.0, 21.0, 22.5], "hogwild": [18.0, 19.5, 20.0]}


@pytest.fixture
def compared(tmp_path, monkeypatch):
    for module in (jobs_module, report_module):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    what = small_comparison()
    jobs = list(jobs_of(what, Path("runs"), fixed_rates(what)))
    for job in jobs:
        workers = {"num_workers": 2, "staleness_mean": 0.9, "staleness_p95": 2}
        write_run(
            tmp_path / job.folder,
            wer=WER[job.way][job.seed],
            seed=job.seed,
            seconds_per_epoch=10.0 if job.way == "one" else 6.0,
            target_reached_s=15.0 if job.way == "one" or job.seed else None,
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
    line = next(line for line in text.splitlines() if line.startswith("| WER % | hogwild"))
    assert "| -2.00 | -3.24 to -0.76 | hogwild is better |" in line
    line = next(line for line in text.splitlines() if line.startswith("| s to target"))
    assert "too few pairs" in line


def test_equal_seconds_are_those_of_the_run_that_ended_first(compared):
    folder, _, _, _ = compared
    record = json.loads((folder / "compare.json").read_text())
    ways = record["figures"][0]["ways"]
    # 12 s: the second validation of one process came at 20 s.
    assert ways["one"]["valid_at"] == {"0": 90.0, "1": 90.0, "2": 90.0}
    assert ways["hogwild"]["valid_at"]["0"] == 19.0


def test_json_has_every_figure_of_every_run(compared):
    folder, _, jobs, _ = compared
    record = json.loads((folder / "compare.json").read_text())
    for job in jobs:
        own = record["figures"][0]["ways"][job.way]
        assert own["wer"][str(job.seed)] == WER[job.way][job.seed]
    for name in ("seconds", "utterances"):
        assert (folder / f"plain-utterances-{name}.png").read_bytes()[:4] == b"\x89PNG"


def test_runs_of_other_data_are_not_compared(compared):
    folder, what, jobs, _ = compared
    write_run(folder / jobs[0].folder, index_checksums={"train": "y"})
    with pytest.raises(ValueError, match=r"other data or models:\n.*one seed 0"):
        write_report(what, group(what, jobs), folder=folder, command="", rates=fixed_rates(what))


def test_sizes_become_one_plot(tmp_path, monkeypatch):
    for module in (jobs_module, report_module):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    what = small_comparison(variants={"small": {"train_shards": [0, 1]}, "large": {}})
    jobs = list(jobs_of(what, Path("runs"), fixed_rates(what)))
    for job in jobs:
        data = {"num_utterances": 100, "audio_s": 360.0 if job.variant == "small" else 3600.0}
        write_run(tmp_path / job.folder, train_data=data)
    write_report(what, group(what, jobs), folder=tmp_path, command="", rates=fixed_rates(what))
    assert (tmp_path / "sizes-utterances.png").is_file()


# --- in a browser --------------------------------------------------------------------------------

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium: the page is looked at by a browser where there is one"
)
ROW = re.compile(r"<tr[^>]*>(.*?)</tr>", re.DOTALL)
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
    return [[CELL.findall(row) for row in ROW.findall(t) if "hidden" not in row] for t in tables]


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
    assert [row[0].split(":")[0] for row in by_wer[1:]] == ["hogwild", "one"]


@needs_browser
@pytest.mark.multiproc
def test_page_needs_no_other_file(compared):
    text = (compared[0] / "compare.html").read_text()
    assert not re.findall(r"(?:src|href)=\"(?!data:)[^\"#]+", text)
    assert (
        json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])["command"]
        == "python x"
    )
