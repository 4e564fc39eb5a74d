"""The published cells beside ours: what is published, what is run, a row of the table."""

import argparse
import json
from pathlib import Path

import pytest

from benchmarks import precision_gpu, trigger_word_cells
from benchmarks.trigger_word_cells import PUBLISHED, cases, row_of
from recipes.TriggerWord.Detection.conv_gru.events import prior_bce


def found(trial) -> dict:
    """What a comparison on a CPU finds."""
    quality = {"that": [1.0, 2.0], "difference": 0.5, "low": -0.5, "high": 1.5, "verdict": "v"}
    speed = {"mean": 1.25, "low": 1.2, "high": 1.3}
    valid = {"bce": quality, "bce_prior": {"that": [0.25]}}
    return {"device": "cpu", "comparisons": [{"cpu_ms": speed, "valid": valid}], "trial": trial}


def test_ratios_and_updates_of_the_published_cells():
    assert [round(trial.time_ratio, 3) for trial in PUBLISHED] == [1.169, 1.174, 1.027]
    assert [trial.num_updates for trial in PUBLISHED] == [20, 30, 20]
    losses = [loss for trial in PUBLISHED for loss, _ in (trial.mixed, trial.single)]
    assert min(losses) > prior_bce(0.074) == pytest.approx(0.264, abs=5e-4)


def test_cases_have_the_batches_and_the_start_of_the_trials():
    made = dict(cases(Path("my/model.ckpt"), clip_s=2.0))
    options = [" ".join(case.options) for case in made.values()]
    start = " --model.initial_weights my/model.ckpt"
    batches = [f"--max_batch_s {seconds}" for seconds in (128.0, 64.0, 128.0)]
    assert options == [*batches[:2], batches[2] + start]
    assert len({case.name for case in made.values()}) == 3


def test_row_holds_published_and_measured_cells():
    row = row_of(PUBLISHED[0], found(PUBLISHED[0]))
    assert row[:4] == ["scratch, 64, 20 updates", "0.6885 / 1.2722", "100.596 / 86.03", "1.169"]
    assert row[4:] == [
        "1.250 (1.200 to 1.300)",
        "1.500",
        "+0.5000 (-0.5000 to +1.5000), v",
        "0.250",
    ]
    assert len(row) == len(trigger_word_cells.HEADER)


def test_all_trials_are_compared_and_told(tmp_path, monkeypatch, capsys):
    ran = []

    def run(case, arms, name, *, args: argparse.Namespace) -> bool:
        ran.append((arms, args.updates, args.units, args.options))
        (args.results / f"{name}.json").write_text(json.dumps(found(case.name)))
        return True

    monkeypatch.setattr(trigger_word_cells, "pretrain", lambda folder, *, args: folder / "m.ckpt")
    monkeypatch.setattr(precision_gpu, "run", run)
    argv = ["--device", "cpu", "--units", "2", "--results", str(tmp_path), "--", "--clip_s", "2.0"]
    assert trigger_word_cells.main(argv) == 0
    rest = (2, ["--clip_s", "2.0"])
    assert ran == [(("fp32", "bf16"), updates, *rest) for updates in (20, 30, 20)]
    said = capsys.readouterr().out
    assert said.count("1.250 (1.200 to 1.300)") == 3
    assert "our time ratio, bf16 / fp32" in said


def test_one_unit_is_refused(capsys):
    with pytest.raises(SystemExit):
        trigger_word_cells.main(["--units", "1"])
    assert "expected 2 or more" in capsys.readouterr().err
