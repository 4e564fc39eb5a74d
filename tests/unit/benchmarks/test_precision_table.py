"""The table of all comparisons of precisions holds what their JSON files say."""

import json

import pytest

from benchmarks import precision_table

SPEED = {"mean": 1.25, "low": 1.2, "high": 1.3, "verdict": "slower"}
QUALITY = {"difference": 0.01, "low": -0.01, "high": 0.03, "verdict": "none"}
ONE = {
    **{"arm": "bf16", "baseline": "fp32", "cpu_ms": SPEED, "wall_ms": {"verdict": "too few"}},
    **{"saved_mib": 0.5, "valid": {"loss": QUALITY}},
}
RECORD = {
    **{"commit": "abc", "protocol": {"units": 2, "timed_steps": 6}},
    "units": [{"arms": {"fp32": {"cpu_ms": [10.0, 12.0, 50.0], "updates": 9}}}] * 2,
    "comparisons": [ONE],
}


def test_table_has_a_row_for_each_report(tmp_path, capsys):
    for name in ("one", "two"):
        (tmp_path / f"2026-01-02-precision-cpu-{name}.json").write_text(json.dumps(RECORD))
    argv = ["2026-01-02-precision-cpu", "--results", str(tmp_path)]
    assert precision_table.main(argv) == 0
    text = (tmp_path / "2026-01-02-precision-cpu.md").read_text()
    assert capsys.readouterr().out.strip() == text.strip()
    row = "bf16 / fp32 | 2; 6, 9 | 12.0 | 1.250 (1.200 to 1.300) | slower | - | too few | 0.50 | "
    row += "+0.0100 (-0.0100 to +0.0300) | none |"
    for name in ("one", "two"):
        assert f"| [cpu-{name}](2026-01-02-precision-cpu-{name}.md) | {row}" in text
    assert "(commits abc)" in text


def test_no_reports_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="no none-"):
        precision_table.write_table("none", tmp_path)
