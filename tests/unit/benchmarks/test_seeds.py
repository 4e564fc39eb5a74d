"""The report of several seeds, from run records."""

from typing import Any

from benchmarks import seeds

MACHINE = {"processor": "P", "cores": 2, "memory_gib": 4.0, "gpus": [], "python": "3.11"}


def record(seed: int, results: dict[str, Any]) -> dict[str, Any]:
    return {
        **{"seed": seed, "written": "2026-01-02T03:04", "commit": "abc", "machine": MACHINE},
        **{"packages": {"torch": "2"}, "threads": 1, "parameters": 1234, "precision": "fp32"},
        **{"updates": 10, "seconds": {"prepare": 1, "train": 2, "test": 3}, "wall_s": 7.4},
        **{"results": {"test": results}},
    }


def test_report_of_recognisers_has_error_rates_and_their_median():
    rows = [
        record(seed, {"utterances": 3, "wer": wer, "wer_p": 2.0, "cer_p": 1.0, "by_category": {}})
        for seed, wer in enumerate([10.0, 30.0, 20.0])
    ]
    text = seeds.report("name", "python x", rows)
    assert "- date: 2026-01-02; commit: abc" in text
    assert "## test: 3 utterances" in text
    assert "| seed | WER | WER-P | CER-P | updates |" in text
    assert "| 1 | 30.00 | 2.00 | 1.00 | 10 | 1 | 2 | 3 | 7 |" in text
    assert "| median | 20.00 | 2.00 | 1.00 | 10 | 1 | 2 | 3 | 7 |" in text


def test_report_of_language_models_has_their_perplexity():
    text = seeds.report("lm", "x", [record(0, {"examples": 5, "loss": 1.5, "perplexity": 4.48})])
    assert "## test: 5 examples" in text
    assert "| seed | loss | perplexity | updates |" in text
    assert "| 0 | 1.50 | 4.48 | 10 | 1 | 2 | 3 | 7 |" in text
    assert "WER" not in text
