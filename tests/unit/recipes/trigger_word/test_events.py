"""Labels, events and figures on sequences made by hand, and beside other formulas."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from recipes.TriggerWord.Detection.conv_gru.events import (
    EventCounts,
    EventRules,
    average_precision,
    count_events,
    find_events,
    frame_figures,
    match_events,
    prior_bce,
)
from recipes.TriggerWord.Detection.conv_gru.labels import end_steps, label_steps, steps_of
from recipes.TriggerWord.Detection.conv_gru.scores import DetectionScores, Scored

CLIP = {"num_steps": 1375, "duration_ms": 10_000}
RULES = EventRules(threshold=0.5, refractory=75, width=50, tolerance=12)


def test_labels_have_the_published_check_values():
    ends = end_steps([9700, 4251], **CLIP)
    labels = label_steps(ends, num_steps=1375, width=steps_of(364.0, **CLIP))
    assert ends == [1333, 584]
    assert (labels[634], labels[635], labels[1333], labels[1334]) == (1, 0, 0, 1)
    assert labels.sum() == 50 + (1375 - 1334)


def test_labels_are_exactly_the_width_cut_at_the_end_and_never_above_one():
    assert label_steps([100], num_steps=1375, width=50).sum() == 50
    assert label_steps([1374], num_steps=1375, width=50).sum() == 0
    overlapping = label_steps([100, 120], num_steps=1375, width=50)
    assert overlapping.sum() == 70
    assert set(overlapping.tolist()) == {0.0, 1.0}


def test_steps_of_times_are_those_of_the_original():
    assert [steps_of(ms, **CLIP) for ms in (364, 546, 87)] == [50, 75, 12]
    assert steps_of(364, num_steps=46, duration_ms=2000) == 8
    assert steps_of(364, num_steps=496, duration_ms=10_000) == 18


def probs(*steps: int, num: int = 400) -> np.ndarray:
    found = np.zeros(num, np.float32)
    found[list(steps)] = 0.9
    return found


def test_events_rest_more_than_the_refractory_steps():
    assert find_events(probs(10, 85), threshold=0.5, refractory=75) == [10]
    assert find_events(probs(10, 86), threshold=0.5, refractory=75) == [10, 86]
    assert find_events(probs(10, 50, 86, 100, 162), threshold=0.5, refractory=75) == [10, 86, 162]
    assert find_events(np.full(9, 0.5, np.float32), threshold=0.5, refractory=75) == []


def test_match_window_is_open_at_the_end_of_the_word_and_each_is_used_once():
    assert match_events([100], [100], reach=62) == []
    assert match_events([101], [100], reach=62) == [(101, 100)]
    assert match_events([162], [100], reach=62) == [(162, 100)]
    assert match_events([163], [100], reach=62) == []
    assert match_events([110, 190], [100], reach=200) == [(110, 100)]
    assert match_events([110, 120], [100, 105], reach=62) == [(110, 100), (120, 105)]


def test_match_window_opens_before_the_end_if_asked():
    assert match_events([96], [100], reach=62, early=4) == []
    assert match_events([97], [100], reach=62, early=4) == [(97, 100)]
    rules = replace(RULES, early=4)
    assert count_events(probs(97), [100], rules, duration_s=4.0).delays_s == pytest.approx([-0.03])
    assert not count_events(probs(97), [100], RULES, duration_s=4.0).delays_s


def test_counts_of_a_clip():
    ends = [50, 200, 399]
    counts = count_events(probs(60, 170, 250), ends, RULES, duration_s=4.0)
    assert (counts.num_triggers, counts.num_firings, counts.num_cut) == (2, 3, 1)
    assert counts.delays_s == pytest.approx([0.10, 0.50])
    figures = counts.figures()
    assert figures["event_recall"] == 100.0
    assert figures["event_precision"] == pytest.approx(200 / 3)
    assert figures["event_f1"] == pytest.approx(80.0)
    assert figures["false_alarms_per_hour"] == 900.0
    assert figures["latency_ms"] == pytest.approx(300.0)


def test_counts_add_up_and_nothing_has_no_rate():
    total = EventCounts(2, 3, (0.1,), 1800.0) + EventCounts(1, 1, (0.3,), 1800.0, 1)
    assert total == EventCounts(3, 4, (0.1, 0.3), 3600.0, 1)
    assert total.figures()["false_alarms_per_hour"] == 2.0
    empty = EventCounts().figures()
    assert empty["event_recall"] is empty["latency_ms"] is empty["false_alarms_per_hour"] is None


@pytest.mark.parametrize("is_tied", [False, True])
def test_average_precision_equals_the_sum_over_thresholds(is_tied):
    rng = np.random.default_rng(0)
    labels = (rng.random(300) < 0.2).astype(np.float32)
    found = (labels * 0.3 + rng.random(300)).astype(np.float32)
    found = np.round(found, 1) if is_tied else found
    expected, before = 0.0, 0.0
    for threshold in sorted(set(found.tolist()), reverse=True):
        fired = found >= np.float32(threshold)
        recall, precision = labels[fired].sum() / labels.sum(), labels[fired].mean()
        expected += (recall - before) * precision
        before = recall
    assert average_precision(found, labels) == pytest.approx(100 * expected)
    assert average_precision(found, 0 * labels) is None


def test_frame_figures_beside_torch_and_the_constant_answer():
    rng = np.random.default_rng(1)
    labels = (rng.random(2000) < 0.074).astype(np.float32)
    found = rng.random(2000).astype(np.float32)
    figures = frame_figures(found, labels, threshold=0.5)
    expected = torch.nn.functional.binary_cross_entropy(*map(torch.from_numpy, (found, labels)))
    assert figures["bce"] == pytest.approx(expected.item(), rel=1e-5)
    constant = np.full(2000, labels.mean(), np.float32)
    same = frame_figures(constant, labels, threshold=0.5)
    assert same["bce"] == pytest.approx(same["bce_prior"], rel=1e-5)
    assert same["bce_gain"] == pytest.approx(0.0, abs=1e-6)
    assert same["frame_precision"] is None
    assert prior_bce(0.0) == prior_bce(1.0) == 0.0


def test_prior_of_the_source_is_below_all_its_losses():
    assert prior_bce(0.074) == pytest.approx(0.264, abs=5e-4)
    assert math.log(2) == pytest.approx(0.6931, abs=1e-4)


def scored(name: str, *steps: int, ends=()) -> Scored:
    labels = label_steps(ends, num_steps=400, width=50).numpy()
    return Scored(name, probs(*steps), labels, tuple(ends), RULES, 4.0)


def test_scores_merge_ranks_and_refuse_what_comes_twice(tmp_path):
    one, two = DetectionScores([scored("b", 60, ends=[50])]), DetectionScores([scored("a", 9)])
    one.merge([one, two])
    assert [item.id for item in one.items] == ["a", "b"]
    summary = one.summarise()
    assert (summary["utterances"], summary["triggers"]) == (2, 1)
    assert summary["event_recall"] == 100.0
    assert summary["false_alarms_per_hour"] == 450.0
    one.write_events(tmp_path / "events.txt")
    lines = (tmp_path / "events.txt").read_text().splitlines()
    assert lines[0].startswith("a  1 errors")
    assert "triggers [500], fired [600]" in lines[1]
    with pytest.raises(ValueError, match="scored twice"):
        one.merge([two, two])
    assert DetectionScores().summarise()["utterances"] == 0
