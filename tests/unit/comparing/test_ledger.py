"""The ledger of runs: what run.json files say, as CSV, Markdown and a page."""

import csv

import pytest

import report
from comparing.ledger import Ledger, conditions
from recipes.common import divergence
from tests.unit.comparing.runs import write_run


@pytest.fixture
def runs(tmp_path):
    write_run(tmp_path / "a", wer=30.0, written="2026-01-01T00:00:00+00:00")
    write_run(tmp_path / "deep" / "b", wer=10.0, workers={"num_workers": 4, "staleness_mean": 2.5})
    write_run(tmp_path / "c", wer=20.0, world_size=2, written="2026-01-03T00:00:00+00:00")
    return tmp_path


def test_ledger_has_every_run_newest_first(runs):
    ledger = Ledger(runs)
    assert [row["run"] for row in ledger.rows] == ["c", "deep/b", "a"]
    assert [row["way"] for row in ledger.rows] == ["ddp", "hogwild", "one"]
    assert [row["processes"] for row in ledger.rows] == [2, 4, 1]
    assert [row["test_wer"] for row in ledger.rows] == [20.0, 10.0, 30.0]
    assert "target_s" not in ledger.columns  # nobody reached it


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        (["way=hogwild"], {"deep/b"}),
        (["way!=hogwild"], {"a", "c"}),
        (["test_wer<30"], {"deep/b", "c"}),
        (["test_wer>=20", "way=one"], {"a"}),
        (["staleness>1"], {"deep/b"}),
        (["nowhere=1"], set()),
    ],
)
def test_conditions_choose_runs(runs, where, wanted):
    assert {row["run"] for row in Ledger(runs, where=where).rows} == wanted


def test_runs_of_one_process_differ_in_batch_accumulation_and_rate(runs):
    # As a run leaves it: numbers, a word of YAML, and lines that are none of these keys.
    text = "# lr: 7\nmax_batch_s: {}\ngrad_accumulation_factor: {}\nlr: {}\nopt:\n  lr: 9\n"
    (runs / "a" / "hyperparams.yaml").write_text(text.format("20.0", 2, "0.003"))
    (runs / "c" / "hyperparams.yaml").write_text(text.format("10.0", 1, "1e-3"))
    rows = {row["run"]: row for row in Ledger(runs).rows}
    names = ("batch", "accumulation", "lr")
    assert [rows["a"][name] for name in names] == [20.0, 2, 0.003]
    assert [rows["c"][name] for name in names] == [10.0, 1, 0.001]
    assert [rows["deep/b"][name] for name in names] == [None, None, None]
    assert [row["run"] for row in Ledger(runs, where=["accumulation=2"]).rows] == ["a"]


def test_condition_that_is_none_is_refused():
    with pytest.raises(ValueError, match="condition 'wer'"):
        conditions(["wer"])


def test_command_writes_csv_markdown_page_and_curves(runs, capsys):
    assert report.main([str(runs)]) == 0
    out = runs / "ledger"
    with (out / "ledger.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["test_wer"]) for row in rows] == [20.0, 10.0, 30.0]
    assert [row["curve"] for row in rows] == [f"curves/{n}.png" for n in ("c", "deep--b", "a")]
    text = (out / "ledger.md").read_text()
    assert "| [deep/b](../deep/b) | [curve](curves/deep--b.png) |" in text
    page = (out / "ledger.html").read_text()
    assert '<a href="../deep/b">deep/b</a>' in page
    assert '<a href="curves/deep--b.png">curve</a>' in page
    assert (out / "curves" / "deep--b.png").read_bytes()[:4] == b"\x89PNG"
    assert "3 runs" in capsys.readouterr().out


def test_run_that_cannot_be_read_is_told(runs, capsys):
    (runs / "a" / "run.json").write_text("{}")
    assert report.main([str(runs)]) == 1
    assert "left out a: KeyError" in capsys.readouterr().err
    assert len(Ledger(runs).rows) == 2


def test_run_that_diverged_is_listed(runs):
    folder = runs / "bad"
    folder.mkdir()
    divergence.note(folder, FloatingPointError("not finite"))
    (folder / "command.txt").write_text("python train.py a.yaml --lr 9\n")
    (folder / "hyperparams.yaml").write_text("seed: 3\nlr: 9\n")
    assert report.main([str(runs)]) == 0
    ledger = Ledger(runs)
    rows = {row["run"]: row for row in ledger.rows}
    assert {name: row["ended"] for name, row in rows.items()} == {
        **dict.fromkeys(("a", "c", "deep/b"), "finished"),
        "bad": "diverged",
    }
    assert rows["bad"]["lr"] == 9
    assert rows["bad"]["command"] == "python train.py a.yaml --lr 9"
    assert ledger.curve("bad") is None
    divergence.note(runs / "a", FloatingPointError("before it was run again by hand"))
    assert [r["run"] for r in Ledger(runs, where=["ended=diverged"]).rows] == ["bad"]


def test_no_folder_is_told(tmp_path):
    with pytest.raises(SystemExit) as ended:
        report.main([str(tmp_path / "nowhere")])
    assert ended.value.code == 2
