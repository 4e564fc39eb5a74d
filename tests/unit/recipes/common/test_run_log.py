"""Text, JSON and curves of a run."""

import json

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from recipes.common.run_log import RunLog
from recipes.common.update import UpdateReport


def report(number: int) -> UpdateReport:
    return UpdateReport(number, True, loss=1.5 / number, count=10, grad_norm=2.0, rate=0.1)


def curves(folder) -> EventAccumulator:
    accumulator = EventAccumulator(str(folder / "tensorboard"))
    accumulator.Reload()
    return accumulator


def test_update_every_nth_becomes_a_point(tmp_path):
    with RunLog(tmp_path, log_every=2) as log:
        for number in range(1, 6):
            log.update(report(number))
    points = curves(tmp_path).Scalars("train/loss")
    assert [point.step for point in points] == [2, 4]
    assert points[1].value == pytest.approx(0.375)


def test_stage_text_and_json_hold_the_same(tmp_path):
    with RunLog(tmp_path) as log:
        log.stage("valid", {"loss": 0.25, "wer": 12.345678, "note": None}, number=7, epoch=1)
    entry = json.loads((tmp_path / "train_log.jsonl").read_text())
    assert (entry["stage"], entry["updates"]) == ("valid", 7)
    assert entry["wer"] == 12.345678
    text = (tmp_path / "train_log.txt").read_text()
    assert text == "valid: epoch 1, updates 7, loss 0.25, wer 12.35, note None\n"


def test_stage_a_resumed_run_appends(tmp_path):
    for number in (1, 2):
        with RunLog(tmp_path) as log:
            log.stage("valid", {"wer": 1.0}, number=number, epoch=1)
    assert len((tmp_path / "train_log.txt").read_text().splitlines()) == 2


def test_histogram_of_whole_numbers_is_that_of_their_counts(tmp_path):
    with RunLog(tmp_path) as log:
        log.histogram("hogwild/staleness", [0, 5, 3], number=9)
        log.histogram("hogwild/nothing", [0, 0], number=9)
    (event,) = curves(tmp_path).Histograms("hogwild/staleness")
    shown = event.histogram_value
    assert (event.step, shown.min, shown.max, shown.num, shown.sum) == (9, 1, 2, 8, 11)
    assert curves(tmp_path).Tags()["histograms"] == ["hogwild/staleness"]
