"""The report of trigger-word runs holds what their run.json files say."""

import json

from benchmarks import trigger_word

RESULT = {
    **{"utterances": 3, "hours": 0.5, "triggers": 4, "bce": 0.01234, "bce_prior": 0.41},
    **{"average_precision": 99.0, "frame_f1": 90.0, "event_recall": 75.0, "event_f1": 80.0},
    **{"event_precision": None, "false_alarms_per_hour": 2.0, "latency_ms": 43.4},
    "thresholds": {"0.5": {"event_recall": 75.0, "false_alarms_per_hour": 2.0}},
}
RECORD = {
    **{"command": "python train.py x.yaml", "written": "2026-01-02T03:04:05", "commit": "abc"},
    **{"threads": 1, "parameters": 61409, "updates": 10, "precision": "fp32", "seed": 5},
    "machine": {"processor": "P", "cores": 2, "gpus": []},
    "seconds": {"train": 12.3},
    "results": {"test": RESULT},
}


def test_report_tells_of_a_later_test():
    tested = {"command": "again", "written": "2026-02-03T04:05:06", "commit": "def"}
    assert "- tested later by" not in trigger_word.report("toy", [RECORD])
    told = trigger_word.report("toy", [{**RECORD, "tested": tested}])
    assert "- tested later by `again`; 2026-02-03; commit def\n" in told


def test_report_is_made_of_the_records(tmp_path, capsys):
    (tmp_path / "run.json").write_text(json.dumps(RECORD))
    argv = [str(tmp_path), "--name", "toy", "--results", str(tmp_path / "results")]
    assert trigger_word.main(argv) == 0
    path = tmp_path / "results" / "2026-01-02-trigger_word-toy.md"
    text = path.read_text()
    assert capsys.readouterr().out.strip() == text.strip()
    assert "| 5 | 0.0123 | 0.4100 | 99.00 | 90.00 | 75.00 | - | 80.00 | 2.0 | 43 |" in text
    assert "`python train.py x.yaml`; 2026-01-02; commit abc; P, 2 cores" in text
    assert json.loads(path.with_suffix(".json").read_text()) == [RECORD]
