"""The transducer's benchmarks run, and their loss keeps its memory."""

import json

import pytest
import torch

from benchmarks import rnnt_gpu, rnnt_loading, rnnt_loss, rnnt_parts, rnnt_throughput
from benchmarks.rnnt_measuring import now
from benchmarks.rnnt_task import SAMPLES, TOKENS, make_batch, make_brain
from recipes.LibriSpeech.ASR.transducer.lamb import LAMB


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
@pytest.mark.parametrize("lengths", rnnt_loss.LENGTHS)
def test_packed_loss_keeps_its_memory_and_time_at_the_benchmarks_shape(lengths):
    # Dense logits of this shape and their gradient take hundreds of MiB. Seconds of CPU time.
    words = ["--repeats", "1", "--losses", "torchaudio", "packed"]
    rows = rnnt_loss.run_all(words, rnnt_loss.parse([*words, "--lengths", lengths]))
    dense, packed = rows
    assert packed["value"] == pytest.approx(dense["value"], rel=1e-5)
    assert packed["peak_mib"] <= 150 < dense["peak_mib"]
    assert packed["seconds"] <= 0.75 * dense["seconds"]


@pytest.mark.slow
def test_throughput_benchmark_compares_both_ways(tmp_path, capsys):
    words = ["--model", "small.yaml", "--batch", "2", "--updates", "1", "--warmup", "0"]
    words += ["--modes", *rnnt_throughput.MODES, "--shapes", "canonical", "--out", str(tmp_path)]
    assert rnnt_throughput.main(words) == 0
    (path,) = tmp_path.glob("*rnnt-throughput-*.json")
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    assert [(row["mode"], row["loss"]) for row in rows] == [
        ("reference", "torchaudio"), ("padded", "torchaudio"), ("fast", "packed")
    ]  # fmt: skip
    assert rows[0]["micro_batch"] == 2
    assert all(row["top"] and row["stages_s"]["update"] > 0 for row in rows)
    assert "times as fast" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.multiproc
def test_loading_benchmark_measures(tmp_path):
    words = ["--workers", "0", "1", "--hours", "0.05", "--batch", "4", "--out", str(tmp_path)]
    assert rnnt_loading.main([*words, "--work", str(tmp_path / "work")]) == 0
    (path,) = tmp_path.glob("*rnnt-loading.json")
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    assert [row["workers"] for row in rows] == [0, 1]
    assert all(row["audio_s_per_s"] > row["utterances_per_s"] > 0 for row in rows)


def once(act, device, **options):
    """Act; stands for seconds_of."""
    begun = now(device)
    act()
    return now(device) - begun


@pytest.mark.slow
def test_parts_benchmark_measures_each(tmp_path, monkeypatch):
    # Not compiled, and smaller: the figures are of no interest.
    monkeypatch.setattr(torch, "compile", lambda part: part)
    monkeypatch.setitem(rnnt_parts.DEV, "cpu", (2, 5))
    monkeypatch.setattr(rnnt_parts, "seconds_of", once)
    monkeypatch.setattr(rnnt_parts, "FRAMES", 20)
    assert rnnt_parts.main(["--batches", "1", "--repeats", "1", "--out", str(tmp_path)]) == 0
    (path,) = tmp_path.glob("*rnnt-parts-cpu.json")
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    assert [row["part"] for row in rows] == [
        "speed of 12 s", "update and average", "features, batch 1", "joint and loss, batch 1",
        "encoder and predictor, batch 1", "search of 2 utterances of 7 s",
    ]  # fmt: skip
    assert all(row["as it is"] > 0 for row in rows)
    assert [place for place, row in enumerate(rows) if "compiled" in row] == [1, 2, 3]


@pytest.mark.parametrize("quick", [True, False])
def test_gpu_benchmark_asks_what_the_others_understand(tmp_path, monkeypatch, quick):
    asked = []

    def stand_in(module, words):
        asked.append((module, module.parse(words)))
        return 0

    monkeypatch.setattr(rnnt_gpu, "code_of", stand_in)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert rnnt_gpu.main(["--out", str(tmp_path), *(["--quick"] if quick else [])]) == 0
    assert all(options.out == tmp_path for _, options in asked)
    modes = [(o.batch, *o.modes) for module, o in asked if module is rnnt_throughput]
    usual, large = (192, "reference", "padded", "fast"), (512, "reference", "fast")
    assert modes[0] == usual
    assert (large in modes) == (not quick)
    assert len(modes) == (1 if quick else 6)
    names = [options.name for module, options in asked if module is rnnt_loss]
    assert names == ["rnnt-loss-gpu-usual", "rnnt-loss-gpu-largest"]


def test_gpu_benchmark_goes_on_after_one_that_died(tmp_path, monkeypatch):
    asked = []

    def dies_once(module, words):
        asked.append(module)
        return int(module is rnnt_parts)

    monkeypatch.setattr(rnnt_gpu, "code_of", dies_once)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert rnnt_gpu.main(["--quick", "--out", str(tmp_path)]) == 1
    assert set(asked) == {rnnt_parts, rnnt_loss, rnnt_throughput, rnnt_loading}


def test_way_of_a_part_that_fails_leaves_the_others(monkeypatch):
    def fail():
        raise RuntimeError("CUDA error: an illegal memory access\nmore lines")

    monkeypatch.setattr(rnnt_parts, "seconds_of", once)
    row = rnnt_parts.compare("x", {"a": fail, "b": int}, rnnt_parts.parse([]))
    assert row["faults"] == {"a": "RuntimeError: CUDA error: an illegal memory access"}
    assert "a" not in row and row["b"] >= 0
    record = rnnt_parts.setting("rnnt_parts", [], ()) | {"rows": [row]}
    lines = rnnt_parts.report_lines(record, rnnt_parts.parse([]))
    assert lines[-1].startswith("No figure of x, a: RuntimeError: CUDA error")


def test_throughput_is_written_after_each_way_and_tells_its_faults(tmp_path, monkeypatch):
    figures = {"device": "cpu", "precision": "fp32", "loss": "packed", "micro_batch": 2}
    figures |= {"update_s": 1.0, "utterances_per_s": 2.0, "peak_mib": 3.0}
    written = []

    def stand_in(mode, shape, options):
        written.append(len(list(tmp_path.glob("*.json"))))
        if mode == "padded":
            raise torch.OutOfMemoryError("too much")
        return {"mode": mode, "shape": shape, "stages_s": {}, "top": [], **figures}

    monkeypatch.setattr(rnnt_throughput, "measure", stand_in)
    words = ["--modes", *rnnt_throughput.MODES, "--shapes", "canonical", "--out", str(tmp_path)]
    assert rnnt_throughput.main(words) == 0
    assert written == [0, 1, 1]
    (path,) = tmp_path.glob("*.json")
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    assert [row.get("fault") for row in rows] == [None, "OutOfMemoryError: too much", None]
    (path,) = tmp_path.glob("*.md")
    text = path.read_text(encoding="utf-8")
    assert "No figure of padded, canonical: OutOfMemoryError: too much." in text
    assert "1.00 times as fast as reference" in text


def test_gpu_benchmark_without_a_gpu_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert rnnt_gpu.main([]) == 2
    assert "no CUDA device" in capsys.readouterr().out


def test_speed_of_an_utterance_of_12_s_takes_little_memory():
    row = rnnt_parts.speed(rnnt_parts.parse(["--repeats", "1"]))
    assert row["as it is"] > 0
    assert row["peak_mib"] < 100


@pytest.mark.slow
def test_speed_of_an_utterance_of_12_s_takes_little_time():
    row = rnnt_parts.speed(rnnt_parts.parse(["--repeats", "5"]))
    assert row["as it is"] < 50  # milliseconds of CPU time


def test_made_up_batches_have_the_benchmarks_shape():
    batch = make_batch(2, shape="canonical", vocab_size=30, seed=0, pin=False)
    assert batch.wavs.data.shape == (2, SAMPLES)
    assert batch.tokens.data.shape == (2, TOKENS)
    varied = make_batch(64, shape="simulated", vocab_size=30, seed=0, pin=False)
    seconds = varied.wavs.lengths * varied.wavs.data.shape[1] / 16000
    assert 10 < float(seconds.mean()) < 14.5
    assert float(seconds.max()) <= 16.7
    assert (varied.tokens.data[:, 0] > 0).all()
    options = {"shape": "simulated", "vocab_size": 30, "seed": 0, "pin": False}
    lengths = varied.wavs.lengths
    assert (lengths.diff() <= 0).all()
    drawn = make_batch(64, **options, by_length=False).wavs.lengths
    assert (drawn.diff() > 0).any()
    assert torch.equal(drawn.sort(descending=True).values, lengths)


@pytest.mark.parametrize("mode", ["reference", "padded", "fast"])
def test_both_ways_train_by_lamb(tmp_path, mode):
    brain = make_brain("small.yaml", mode, tmp_path)
    assert isinstance(brain.optimizer, LAMB)
    assert brain.optimizer.foreach == brain.average.foreach == (mode != "reference")


def test_made_up_batches_are_moved_as_asked():
    batch = make_batch(2, shape="canonical", vocab_size=30, seed=0, pin=False)
    moved = batch.to("meta", non_blocking=True)
    assert moved.wavs.data.device.type == moved.tokens.lengths.device.type == "meta"
    with pytest.raises(TypeError):
        batch.to("cpu", no_such_option=True)
