"""The detector learns from synthetic words; precisions are compared on it."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import comparing.precision
import train
import train_hogwild
from comparing.arms import make_arms
from comparing.precision import compare
from comparing.precision_report import write_report
from comparing.protocol import Protocol
from comparing.statistics import NO_DIFFERENCE
from comparing.trajectory import Clock
from recipes.common.hparams import load_run
from tests.integration.commands import log_rows, parameters, run_json
from tests.unit.data_prepare.trigger_word.sweeps import write_words

HPARAMS = "recipes/TriggerWord/Detection/conv_gru/hparams"
SMALL = f"{HPARAMS}/small.yaml"


@pytest.fixture(scope="module")
def options(tmp_path_factory) -> dict[str, object]:
    """Sweeps instead of words, 200 clips of 2 s; half a second's work."""
    folder = tmp_path_factory.mktemp("trigger_word")
    return {
        "work_folder": folder / "work",
        "corpus.words_folder": write_words(folder / "words", num=16),
        "corpus.num_clips": "{train: 240, valid: 60, test: 60}",
        "corpus.max_negatives": 2,
    }


def words_of(options: dict[str, object]) -> list[str]:
    return [str(word) for key, value in options.items() for word in (f"--{key}", value)]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_small_detector_beats_the_prior_and_finds_events(seed, options, tmp_path, capsys):
    own = {"output_folder": tmp_path, "seed": seed, "num_epochs": 10, "num_hold": 120, **options}
    assert train.main([SMALL, *words_of(own)]) == 0
    record = run_json(tmp_path)
    result = record["results"]["test"]
    assert record["parameters"] == 61_409
    assert result["bce"] < 0.2 < result["bce_prior"]
    assert result["frame_f1"] > 85
    assert result["event_recall"] > 60  # two words within the rest after a firing: one is missed
    assert result["event_precision"] > 60  # and what fires before the end is false
    assert result["utterances"] == 60
    assert "BCE of the prior" in capsys.readouterr().out
    rows = log_rows(tmp_path)
    assert [row["epoch"] for row in rows] == list(range(1, 11))
    assert all(row["bce_prior"] > 0 for row in rows)
    assert (tmp_path / "events" / "test.txt").is_file()


class SteadyClock(Clock):
    """A step takes 20 ms, give or take 3 %; sleep takes what it says, at once."""

    def __init__(self) -> None:
        self._random = np.random.default_rng(0)
        self._now_s = 0.0

    def wall_s(self) -> float:
        self._now_s += 0.010 * self._random.uniform(0.97, 1.03)
        return self._now_s

    cpu_s = wall_s

    def sleep(self, seconds: float) -> None:
        self._now_s += seconds


def compared(options, folder: Path, kinds: list[str], *, delay_ms: float = 0.0, **how):
    how = {"units": 3, "warmup_steps": 2, "timed_steps": 6, "num_batches": 4, **how}
    return compare(
        SMALL,
        make_arms(kinds, delay_ms=delay_ms),
        Protocol(**{"valid_batches": 1, **how}),
        options=words_of(options),
        folder=folder,
        clock=SteadyClock(),
    )


def comparison_of(found, folder: Path):
    path = write_report(found, folder=folder, command="test")
    (one,) = json.loads(path.with_suffix(".json").read_text())["comparisons"]
    return one, path.read_text()


def test_two_equal_arms_are_equal_bit_for_bit_and_no_difference_is_told(options, tmp_path):
    found = compared(options, tmp_path, ["fp32", "fp32"])
    assert [unit["order"][0] for unit in found["units"]] == ["fp32", "fp32 (2)", "fp32"]
    for unit in found["units"]:
        one, other = unit["arms"].values()
        assert one["losses"] == other["losses"]
        assert one["valid"] == other["valid"]
        assert (one["updates"], len(one["wall_ms"])) == (9, 6)
        assert one["saved_mib"] == other["saved_mib"] > 0
    assert len({unit["arms"]["fp32"]["losses"][0] for unit in found["units"]}) == 3
    one, text = comparison_of(found, tmp_path)
    assert one["wall_ms"]["verdict"] == NO_DIFFERENCE
    assert one["wall_ms"]["low"] < 1.0 < one["wall_ms"]["high"]
    assert {figure["verdict"] for figure in one["valid"].values()} == {NO_DIFFERENCE}
    assert NO_DIFFERENCE in text


def test_sleep_in_one_arm_is_found_and_changes_no_loss(options, tmp_path):
    found = compared(options, tmp_path, ["fp32", "fp32"], delay_ms=2.0)
    one, text = comparison_of(found, tmp_path)
    assert one["wall_ms"]["verdict"] == "slower"
    assert one["wall_ms"]["mean"] == pytest.approx(1.1, abs=0.02)
    assert "slower" in text
    for unit in found["units"]:
        losses = [arm["losses"] for arm in unit["arms"].values()]
        assert losses[0] == losses[1]


def test_bf16_starts_alike_and_has_no_scaler(options, tmp_path):
    found = compared(options, tmp_path, ["fp32", "bf16"], units=2, updates=12)
    for unit in found["units"]:
        single, half = unit["arms"].values()
        assert single["losses"] != half["losses"]
        assert np.isfinite(half["losses"]).all()
        assert half["losses"][0] == pytest.approx(single["losses"][0], rel=0.05)
        assert half["saved_mib"] < single["saved_mib"]
        assert (half["final_scale"], half["skipped"], half["updates"]) == (None, 0, 12)
        assert half["valid"]["bce_prior"] == single["valid"]["bce_prior"]


def test_bf16_arm_is_validated_in_float32(options, tmp_path):
    still = {**options, "lr": 1e-30, "model.norm": "layer"}  # nothing is learnt, no statistics
    (unit,) = compared(still, tmp_path, ["fp32", "bf16"], units=1)["units"]
    single, half = unit["arms"].values()
    assert single["losses"] != half["losses"]
    assert single["valid"] == half["valid"]


def test_skipped_updates_and_final_scale_of_a_forced_overflow_are_counted(
    options, tmp_path, monkeypatch
):
    scale = 2.0**127  # the first losses times this are infinite
    build = comparing.precision.job.build_brain

    def build_with_scaler(run, run_opts, **more):
        brain = build(run, run_opts, **more)
        if run.hparams["output_folder"].endswith("-1"):  # the second arm
            brain.scaler = torch.GradScaler("cpu", init_scale=scale)
        return brain

    monkeypatch.setattr(comparing.precision.job, "build_brain", build_with_scaler)
    found = compared({**options, "pos_weight": 1000.0}, tmp_path, ["fp32", "fp32"], units=2)
    for unit in found["units"]:
        plain, scaled = unit["arms"].values()
        assert (plain["skipped"], plain["final_scale"]) == (0, None)
        assert scaled["skipped"] > 0
        assert scaled["final_scale"] == scale / 2.0 ** scaled["skipped"]
        assert scaled["updates"] == plain["updates"] == len(plain["losses"])
        assert len(scaled["losses"]) == scaled["updates"] + scaled["skipped"]
    _, text = comparison_of(found, tmp_path)
    total = sum(unit["arms"]["fp32 (2)"]["skipped"] for unit in found["units"])
    assert re.search(rf"^\| fp32 \(2\) .*\| {total} \| \d", text, re.MULTILINE)


def test_updates_to_a_target_are_noted_and_looking_changes_nothing(options, tmp_path):
    how = {"units": 1, "updates": 12, "target_every": 2}
    plain, missed = (
        compared(options, tmp_path / name, ["fp32", "fp32"], **how, target=target)
        for name, target in (("plain", 1000.0), ("missed", 0.0))
    )
    once, often = (found["units"][0]["arms"]["fp32"] for found in (plain, missed))
    assert (once["updates_to_target"], often["updates_to_target"]) == (9, None)
    assert once["losses"] == often["losses"]
    assert once["valid"] == often["valid"]
    assert "| fp32 | 1 of 1 | 9 |" in comparison_of(plain, tmp_path / "plain")[1]
    assert "| fp32 | 0 of 1 | - |" in comparison_of(missed, tmp_path / "missed")[1]


def test_fp16_on_a_cpu_is_refused_before_anything_is_built(options, tmp_path):
    with pytest.raises(ValueError, match="fp16 need a CUDA device"):
        compared({**options, "device": "cpu"}, tmp_path, ["fp32", "fp16"])


def test_run_cut_in_mid_epoch_goes_on_to_the_same_weights(options, tmp_path):
    words = [SMALL, *words_of(options), "--num_epochs", "2", "--corpus.test_splits", "[]"]
    whole, cut = ([*words, "--output_folder", str(tmp_path / name)] for name in ("whole", "cut"))
    assert train.main([*whole, "--max_updates", "14"]) == 0
    assert train.main([*cut, "--max_updates", "5"]) == 0
    assert train.main([*cut, "--max_updates", "14"]) == 0
    weights, resumed = (parameters(tmp_path / name) for name in ("whole", "cut"))
    assert weights.keys() == resumed.keys()
    assert all(torch.equal(weights[key], resumed[key]) for key in weights)


@pytest.mark.slow
@pytest.mark.multiproc
def test_two_workers_train_the_detector_with_fixed_statistics(options, tmp_path):
    words = [f"{HPARAMS}/train_hogwild.yaml", *words_of(options), "--num_epochs", "6"]
    words += ["--num_hold", "60", "--statistics_batches", "4"]
    assert train_hogwild.main([*words, "--output_folder", str(tmp_path)]) == 0
    record, rows = run_json(tmp_path), log_rows(tmp_path)
    assert min(record["hogwild"]["updates_by_worker"]) > 0
    assert record["updates"] == sum(record["hogwild"]["updates_by_worker"])
    assert record["utterances_trained"] == 6 * 240
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert record["results"]["test"]["bce"] < record["results"]["test"]["bce_prior"]
    assert min(row["bce"] for row in rows) < 0.8 * rows[0]["bce"]


def test_parity_preset_takes_a_step_and_keeps_the_last_batch(options, tmp_path):
    own = {"corpus.words_folder": options["corpus.words_folder"], "work_folder": tmp_path / "work"}
    own |= {"corpus.num_clips": "{train: 5, valid: 1, test: 1}", "max_batch_s": 30}
    own |= {"num_workers": 0, "num_threads": 1, "num_epochs": 1, "output_folder": tmp_path}
    assert train.main([f"{HPARAMS}/parity.yaml", *words_of(own)]) == 0
    record = run_json(tmp_path)
    assert (record["parameters"], record["updates"]) == (522_425, 2)
    assert record["utterances_trained"] == 5


@pytest.mark.parametrize("name", ["parity", "train", "small"])
def test_presets_build_their_detector(name, tmp_path):
    run_ = load_run([f"{HPARAMS}/{name}.yaml", "--output_folder", str(tmp_path)])
    detector = run_.hparams["modules"]["detector"]
    num = sum(param.numel() for param in detector.parameters())
    assert num == (61_409 if name == "small" else 522_425)
    parity = name == "parity"
    assert detector.dropout == (0.8 if parity else 0.2)
    assert detector.norm_1.momentum == (0.01 if parity else 0.1)
    feats = run_.hparams["modules"]["normalize"](torch.ones(1, 3, 101), epoch=1)
    assert bool((feats == 1).all()) == parity


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="TF32 and fp16 need a CUDA device")
def test_all_arms_train_equally_many_updates_on_a_gpu(options, tmp_path):
    kinds = ["fp32", "tf32", "bf16", "fp16"]
    found = compared(options, tmp_path, kinds, units=2)
    for unit in found["units"]:
        arms = unit["arms"]
        assert list(arms) == kinds
        assert {arm["updates"] for arm in arms.values()} == {9}
        assert all(arm["peak_mib"] > 0 for arm in arms.values())
        assert arms["fp16"]["final_scale"] > 0
        assert arms["fp32"]["final_scale"] is None
