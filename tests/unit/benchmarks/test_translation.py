"""The benchmarks of the translation recipe, on tiny cases."""

import json

import pytest

from benchmarks import ctc_compression, translation, translation_gpu


def record(seed, bleu):
    result = {
        "bleu": bleu, "chrf": 60.0, "exact": 10.0, "compression": 0.3, "utterances": 7,
        "signatures": {"bleu": "nrefs:1", "chrf": "nrefs:1"},
    }  # fmt: skip
    machine = {"processor": "cpu", "cores": 2, "memory_gib": 4, "gpus": [], "python": "3.11"}
    return {
        "arm": "avg", "seed": seed, "wall_s": 100.0, "updates": 9, "threads": 2, "commit": "c",
        "written": "2026-11-26T00:00", "machine": machine, "packages": {"torch": "2.11.0"},
        "parameters": 1000, "load_average": 1.0, "precision": "fp32",
        "seconds": {"train": 80.0, "test": 5.0},
        "results": {"test": result},
    }  # fmt: skip


def test_report_has_a_row_a_run_and_medians():
    text = translation.report(
        "name", "command", [record(n, b) for n, b in ((1, 50.0), (2, 41.5), (3, 47.0))]
    )
    rows = [line for line in text.splitlines() if line.startswith("| avg")]
    assert len(rows) == 4
    assert rows[3].startswith("| avg | median | 47.00 | 60.00 |")
    assert "`nrefs:1`" in text


def test_compression_benchmark_measures_every_strategy(capsys):
    sizes = {"utterances": 2, "steps": 12, "size": 4, "symbols": 5, "repeats": 1}
    assert ctc_compression.main([f"--{name}={value}" for name, value in sizes.items()]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [line.split()[1] for line in lines[1:]] == list(ctc_compression.STRATEGIES)


@pytest.mark.slow
def test_gpu_checks_run_on_a_cpu(capsys):
    words = ["--device", "cpu", "--tiny", "--updates", "1", "--ranks", "2"]
    assert translation_gpu.main(words) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line[0] == "{"]
    assert {row["arm"] for row in told if "arm" in row} == {"fp32", "bf16"}
    (search,) = [row["search"] for row in told if "search" in row]
    assert search["same_as_1"]
    assert search["same_as_3"]
    (ranks,) = [row["ranks"] for row in told if "ranks" in row]
    assert ranks["updates"] == 2
    assert ranks["largest_relative_difference"] < 1e-5
