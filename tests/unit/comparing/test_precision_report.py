"""Verdicts, tables and files of a comparison of precisions, of measurements made up here."""

import json

import numpy as np
import pytest

from comparing.precision_report import TOO_FEW, comparisons_of, write_report
from comparing.statistics import NO_DIFFERENCE


def arm_of(random, *, ms: float, bce: float) -> dict:
    steps = list(ms * random.uniform(0.98, 1.02, 9))
    return {
        **{"wall_ms": steps, "cpu_ms": steps, "losses": [1.0], "updates": 12, "skipped": 0},
        **{"final_scale": None, "saved_mib": 2.0, "peak_mib": None, "updates_to_target": None},
        "valid": {"bce": bce * random.uniform(0.99, 1.01), "event_f1": 80.0},
    }


def found_of(*, ratio: float = 1.0, bce: float = 0.1, units: int = 5, margin=None) -> dict:
    random = np.random.default_rng(0)
    measured = [
        {
            "seed": seed,
            "order": ["fp32", "bf16", "bf16", "fp32"],
            "load_average": [0.5, 1.0],
            "arms": {
                "fp32": arm_of(random, ms=10.0, bce=0.1),
                "bf16": arm_of(random, ms=10.0 * ratio, bce=bce),
            },
        }
        for seed in range(units)
    ]
    return {
        **{"device": "cpu", "threads": 1, "parameters": 7, "valid_metric": "bce"},
        "valid_mode": "min",
        "arms": [{"name": name, "kind": name, "delay_s": 0.0} for name in ("fp32", "bf16")],
        "protocol": {
            **{"units": units, "first_seed": 0, "timed_steps": 9, "warmup_steps": 2},
            **{"resolution": 0.01, "margin": margin, "target": None, "target_every": 20},
        },
        "units": measured,
    }


@pytest.mark.parametrize(
    ("ratio", "wall"), [(1.0, NO_DIFFERENCE), (1.2, "slower"), (0.9, "faster")]
)
def test_verdict_on_speed(ratio, wall):
    (one,) = comparisons_of(found_of(ratio=ratio))
    assert one["wall_ms"]["verdict"] == wall
    assert one["wall_ms"]["mean"] == pytest.approx(ratio, rel=0.01)
    assert one["wall_ms"]["units"] == len(one["wall_ms"]["per_unit"]) == 5
    assert one["saved_mib"] == 1.0
    assert one["peak_mib"] is None


@pytest.mark.parametrize(
    ("bce", "word", "is_not_worse"),
    [(0.1, NO_DIFFERENCE, True), (0.2, "higher", False), (0.05, "lower", True)],
)
def test_verdict_on_quality_and_margin(bce, word, is_not_worse):
    (one,) = comparisons_of(found_of(bce=bce, margin=0.01))
    figure = one["valid"]["bce"]
    assert (figure["verdict"], figure["is_not_worse"]) == (word, is_not_worse)
    assert figure["low"] <= figure["difference"] <= figure["high"]
    assert one["valid"]["event_f1"]["verdict"] == NO_DIFFERENCE
    assert "is_not_worse" not in one["valid"]["event_f1"]


def test_one_unit_gets_no_verdict(tmp_path):
    found = found_of(ratio=3.0, units=1)
    (one,) = comparisons_of(found)
    assert one["wall_ms"] == {"verdict": TOO_FEW}
    assert one["valid"]["bce"]["verdict"] == TOO_FEW
    assert TOO_FEW in write_report(found, folder=tmp_path, command="c").read_text()


def test_report_holds_numbers_intervals_and_where_they_come_from(tmp_path):
    path = write_report(found_of(ratio=1.2, margin=0.01), folder=tmp_path, command="the command")
    text = path.read_text()
    for part in (
        "`the command`",
        "commit:",
        "load average 0.5 to 1.0",
        "slower",
        "(precision.png)",
    ):
        assert part in text
    assert "not worse by 0.01" in text
    record = json.loads(path.with_suffix(".json").read_text())
    assert record["comparisons"][0]["wall_ms"]["units"] == 5
    assert len(record["units"]) == 5
    assert {"command", "commit", "machine", "packages", "written"} <= record.keys()
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_target_table_counts_what_was_not_reached(tmp_path):
    found = found_of(units=3)
    found["protocol"]["target"] = 0.2
    for unit, ends in zip(found["units"], [(40, None), (20, 60), (60, None)], strict=True):
        for arm, end in zip(unit["arms"].values(), ends, strict=True):
            arm |= {"updates_to_target": end, "cpu_ms": [10.0]}
    text = write_report(found, folder=tmp_path, command="c").read_text()
    assert "| bce <= 0.2 |" in text
    assert "| fp32 | 3 of 3 | 40 | 0.4 |" in text
    assert "| bf16 | 1 of 3 | 60 | 0.6 |" in text
