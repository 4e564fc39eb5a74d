"""The benchmark of the lexicon-free search in its smallest form: searches agree on the score."""

import json

import pytest

pytest.importorskip("flashlight.lib.text.decoder")

from benchmarks import wav2letter_decoding


def test_command_writes_a_report_in_which_equal_searches_find_equal_scores(tmp_path):
    options = ["--quick", "--work", str(tmp_path / "work"), "--results", str(tmp_path)]
    options += ["--beams", "200", "--largest_wrapped", "200", "--seconds", "0.15"]
    assert wav2letter_decoding.main(options) == 0
    (path,) = tmp_path.glob("*-wav2letter_decoding.json")
    rows = json.loads(path.read_text())["runs"]
    assert {row["way"] for row in rows} == wav2letter_decoding.ways(path, None, order=4).keys()
    scores: dict[tuple[str, int], dict[str, float]] = {}
    for row in rows:
        scores.setdefault((row["kind"], row["repeat"]), {})[row["way"]] = row["score"]
    for found in scores.values():
        best = found["ours, numpy"]
        assert found["ours, KenLM"] == pytest.approx(best, rel=1e-4)
        assert found["flashlight, wrapped"] == pytest.approx(best, rel=1e-4)
    assert "ours, numpy" in path.with_suffix(".md").read_text()
