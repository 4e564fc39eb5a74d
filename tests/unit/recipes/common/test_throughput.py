"""Figures of speed and waiting, from counts that a test knows."""

from types import SimpleNamespace

import pytest
import torch

from recipes.common import throughput
from recipes.common.loops import Progress
from recipes.common.throughput import Throughput, gpu_figures
from recipes.common.update import UpdateReport
from tests.unit.recipes.common.toy import ToyLoader, make_batches, make_brain


@pytest.fixture
def clock(monkeypatch):
    times = SimpleNamespace(now_s=100.0)
    monkeypatch.setattr(throughput.time, "monotonic", lambda: times.now_s)
    return times


def counts(audio_s=0.0, padded_s=0.0, wait_s=0.0):
    return SimpleNamespace(audio_s=audio_s, padded_s=padded_s, wait_s=wait_s)


def test_figures_are_of_what_came_since_the_last_look(clock):
    loader = SimpleNamespace(statistics=counts(50.0, 60.0, 9.0))
    seen = Throughput(loader, "cpu")
    seen.start(updates=10, utterances=100)
    loader.statistics.audio_s, loader.statistics.padded_s = 80.0, 100.0
    loader.statistics.wait_s, clock.now_s = 10.0, 110.0
    assert seen.lap(updates=30, utterances=140) == pytest.approx(
        {
            "updates_per_s": 2.0,
            "utterances_per_s": 4.0,
            "audio_s_per_s": 3.0,
            "loader_wait_share": 0.1,
            "padding_share": 0.25,
        }
    )
    clock.now_s = 112.0
    assert seen.lap(updates=30, utterances=140)["loader_wait_share"] == 0.0


def test_counts_that_begin_anew_with_an_epoch_are_taken_whole(clock):
    loader = SimpleNamespace(statistics=counts(50.0, 60.0, 9.0))
    seen = Throughput(loader, "cpu")
    seen.start(updates=0, utterances=0)
    loader.statistics, clock.now_s = counts(20.0, 20.0, 1.0), 110.0
    found = seen.lap(updates=1, utterances=1)
    assert found["audio_s_per_s"] == 2.0
    assert found["loader_wait_share"] == pytest.approx(0.1)


def test_loader_without_counts_gives_the_speed_alone(clock):
    seen = Throughput(object(), "cpu")
    seen.start(updates=0, utterances=0)
    clock.now_s = 101.0
    assert set(seen.lap(updates=1, utterances=2)) == {"updates_per_s", "utterances_per_s"}


class NoUseError(Exception):
    """Stands for NVML's own errors, which are of no standard kind."""


@pytest.mark.parametrize(
    "fault", [ModuleNotFoundError("pynvml"), NoUseError("MIG"), RuntimeError()]
)
def test_gpu_that_does_not_tell_its_use_is_asked_and_told_of_once(monkeypatch, fault):
    asked, told = [], []

    def refuse(device):
        asked.append(device)
        raise fault

    no_peak = {"max_memory_allocated": lambda _: 3 << 20, "reset_peak_memory_stats": lambda _: None}
    for name, act in (no_peak | {"utilization": refuse}).items():
        monkeypatch.setattr(torch.cuda, name, act)
    monkeypatch.setattr(throughput, "_silent", set())
    monkeypatch.setattr(throughput.logger, "warning", lambda *words: told.append(words))
    for _ in range(3):
        assert gpu_figures("cuda:0") == {"gpu_memory_peak_mib": 3.0}
    assert asked == ["cuda:0"] and len(told) == 1
    monkeypatch.setattr(torch.cuda, "utilization", lambda device: 97)
    assert gpu_figures("cuda:1")["gpu_use_percent"] == 97.0


def test_cpu_has_no_gpu_figures():
    assert gpu_figures("cpu") == {}


def test_brain_tells_its_progress_every_few_updates():
    brain, counter = make_brain(hparams={"log_every": 2}, epochs=2)
    told = []
    brain.on_progress = told.append
    brain.fit(counter, ToyLoader(make_batches([2, 3, 1, 2, 2])))
    assert len(told) == 5
    assert all(figures["updates_per_s"] > 0 for figures in told)


def test_screen_shows_loss_gradient_norm_and_speed():
    bar = SimpleNamespace(set_postfix=lambda **shown: vars(bar).update(shown=shown))
    brain = SimpleNamespace(optimizer_step=0, num_utterances=0, device="cpu", last_update=None)
    brain.options = SimpleNamespace(log_every=2)
    brain.on_progress, brain.mean_train_loss = (lambda figures: None), (lambda: 2.0)
    progress = Progress(brain, [], bar)
    brain.optimizer_step, brain.num_utterances = 2, 8
    brain.last_update = UpdateReport(2, True, 2.0, 3, 1.2345, 0.1)
    progress.note()
    assert (bar.shown["loss"], bar.shown["grad"]) == ("2.000", "1.23")
    assert float(bar.shown["utt/s"]) > 0
