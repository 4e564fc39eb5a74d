"""The transducer's benchmarks run, and their loss keeps its memory."""

import json

import pytest

from benchmarks import rnnt_loss, rnnt_parts, rnnt_throughput
from benchmarks.rnnt_task import SAMPLES, TOKENS, make_batch


def test_loss_benchmark_compares_losses(tmp_path, monkeypatch, capsys):
    # Here, not in processes of their own: the figures are of no interest.
    def here(argv, options):
        options.lengths = "varied"
        return [rnnt_loss.measure(name, options) for name in options.losses]

    monkeypatch.setattr(rnnt_loss, "run_all", here)
    words = ["--shape", "2", "20", "6", "40", "--repeats", "1", "--out", str(tmp_path)]
    assert rnnt_loss.main([*words, "--losses", "packed", "torchaudio"]) == 0
    (path,) = tmp_path.glob("*rnnt-loss-cpu.json")
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    assert [row["loss"] for row in rows] == ["packed", "torchaudio"]
    assert rows[0]["value"] == pytest.approx(rows[1]["value"], rel=1e-5)
    assert "packed, varied" in capsys.readouterr().out


@pytest.mark.slow
def test_packed_loss_keeps_its_memory_at_the_benchmarks_shape():
    # Dense logits of this shape and their gradient take hundreds of MiB.
    words = ["--repeats", "1", "--losses", "packed"]
    (row,) = rnnt_loss.run_all(words, rnnt_loss.parse([*words, "--lengths", "full"]))
    assert row["peak_mib"] <= 150


@pytest.mark.slow
def test_throughput_benchmark_compares_both_ways(tmp_path, capsys):
    words = ["--model", "small.yaml", "--batch", "2", "--updates", "1", "--warmup", "0"]
    assert rnnt_throughput.main([*words, "--shapes", "canonical", "--out", str(tmp_path)]) == 0
    (path,) = tmp_path.glob("*rnnt-throughput-*.json")
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    assert [row["mode"] for row in rows] == ["reference", "fast"]
    assert rows[0]["micro_batch"] == 2
    assert all(row["top"] and row["stages_s"]["update"] > 0 for row in rows)
    assert "times as fast" in capsys.readouterr().out


def test_speed_of_an_utterance_of_12_s_takes_little_memory():
    row = rnnt_parts.speed(rnnt_parts.parse(["--repeats", "1"]))
    assert row["as it is"] > 0
    assert row["peak_mib"] < 100


def test_made_up_batches_have_the_benchmarks_shape():
    batch = make_batch(2, shape="canonical", vocab_size=30, seed=0, pin=False)
    assert batch.wavs.data.shape == (2, SAMPLES)
    assert batch.tokens.data.shape == (2, TOKENS)
    varied = make_batch(64, shape="simulated", vocab_size=30, seed=0, pin=False)
    seconds = varied.wavs.lengths * varied.wavs.data.shape[1] / 16000
    assert 10 < float(seconds.mean()) < 14.5
    assert float(seconds.max()) <= 16.7
    assert (varied.tokens.data[:, 0] > 0).all()
