"""The speed of workers is told as train.py's is, from counts that grow."""

from types import SimpleNamespace
from typing import Any

import pytest

from hogwild.counters import FILLED, PADDED, UPDATES, UTTERANCES, WAIT_S, Counters
from recipes.common import throughput
from recipes.common.asynchronous import WorkerProgress, extent_of


def test_speed_of_workers_is_told_every_so_many_updates(monkeypatch):
    told: list[tuple[int, dict[str, Any]]] = []
    log = SimpleNamespace(progress=lambda found, number: told.append((number, found)))
    brain = SimpleNamespace(
        device="cpu", options=SimpleNamespace(log_every=10), run_log=log, optimizer_step=0
    )
    now_s = [0.0]
    monkeypatch.setattr(throughput, "time", SimpleNamespace(monotonic=lambda: now_s[0]))
    tell = WorkerProgress(brain)
    counters = Counters(2)
    for _ in range(6):
        tell(counters.progress())
        counters.counts[:, UPDATES] += 2
        counters.counts[:, UTTERANCES] += 8
        counters.floats[:, FILLED] += 3.0
        counters.floats[:, PADDED] += 4.0
        counters.floats[:, WAIT_S] += 0.5
        now_s[0] += 2.0
    assert [number for number, _ in told] == [12, 20]
    figures = told[0][1]
    assert figures["updates_per_s"] == pytest.approx(2.0)
    assert figures["utterances_per_s"] == pytest.approx(8.0)
    assert figures["audio_s_per_s"] == pytest.approx(3.0)
    assert figures["loader_wait_share"] == pytest.approx(0.25)
    assert figures["padding_share"] == pytest.approx(0.25)


def test_counts_of_other_nodes_are_taken_to_be_like_ones_own():
    counters = Counters(2)
    counters.num_nodes = 3
    counters.counts[0, [UPDATES, UTTERANCES]] = (4, 9)
    assert counters.progress()["updates"] == 12
    assert counters.progress()["utterances"] == 27


def test_seconds_of_a_batch_are_without_and_with_padding():
    wavs = SimpleNamespace(data=SimpleNamespace(numel=lambda: 48_000))
    extent = extent_of(SimpleNamespace(rate_hz=16_000))
    assert extent(SimpleNamespace(seconds=2.5, wavs=wavs)) == (2.5, 3.0)
    assert extent_of(SimpleNamespace()) is None  # batches of text
