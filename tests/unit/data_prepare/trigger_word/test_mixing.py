"""Places, sums and levels of clips."""

import numpy as np
import pytest

from data_prepare.trigger_word import mixing

RATE_HZ = 8000


@pytest.mark.parametrize(
    ("span", "other", "expected"),
    [((200, 250), (100, 199), False), ((200, 250), (100, 200), True), ((0, 9), (9, 9), True)],
)
def test_overlaps_both_ends_belong_to_a_span(span, other, expected):
    assert mixing.overlaps(span, [other]) is expected
    assert mixing.overlaps(other, [span]) is expected


def test_place_thousand_draws_never_overlap():
    rng = np.random.default_rng(0)
    for _ in range(1000):
        taken = []
        for length in rng.integers(1, 400, 5).tolist():
            span = mixing.place(rng, length, clip_ms=2000, occupied=taken, tries=20)
            if span is not None:
                assert not mixing.overlaps(span, taken)
                assert span[0] >= 0 and span[1] < 2000 and span[1] - span[0] == length - 1
                taken.append(span)


def test_place_last_legal_place_is_drawn():
    rng = np.random.default_rng(0)
    drawn = {mixing.place(rng, 8, clip_ms=10, occupied=[], tries=1) for _ in range(100)}
    assert drawn == {(0, 7), (1, 8), (2, 9)}


def test_place_full_clip_and_long_word_give_none():
    rng = np.random.default_rng(0)
    assert mixing.place(rng, 5, clip_ms=100, occupied=[(0, 99)], tries=20) is None
    assert mixing.place(rng, 101, clip_ms=100, occupied=[], tries=20) is None


def test_overlay_adds_and_is_cut_at_the_end():
    clip = np.ones(80, np.float32)
    mixing.overlay(clip, np.full(40, 2, np.float32), start_ms=7, rate_hz=RATE_HZ)
    assert clip[:56].tolist() == [1.0] * 56
    assert clip[56:].tolist() == [3.0] * 24


def test_dbfs_of_a_full_sine_is_three_below():
    wave = np.sin(2 * np.pi * np.arange(8000) / 80).astype(np.float32)
    assert mixing.dbfs(wave) == pytest.approx(-3.0103, abs=1e-3)
    assert mixing.dbfs(np.zeros(5, np.float32)) == -np.inf


def test_to_int16_meets_the_level_and_counts_what_is_clipped():
    wave = np.random.default_rng(0).standard_normal(8000).astype(np.float32)
    samples, num_clipped = mixing.to_int16(wave, target_dbfs=-20.0)
    assert mixing.dbfs((samples / 32768).astype(np.float32)) == pytest.approx(-20.0, abs=0.01)
    assert num_clipped == 0
    samples, num_clipped = mixing.to_int16(wave, target_dbfs=0.0)
    assert num_clipped == np.count_nonzero(np.abs(samples.astype(int)) >= 32767) > 1000
    assert not mixing.to_int16(np.zeros(9, np.float32), target_dbfs=-20.0)[0].any()


@pytest.mark.parametrize("num", [50, 100, 333])
def test_go_round_gives_the_length_round_and_round(num):
    source = np.arange(100, dtype=np.float32)
    found = mixing.go_round(source, num, first=30)
    np.testing.assert_array_equal(found, (np.arange(num) + 30) % 100)
    found[:] = -1
    assert source[0] == 0


def test_in_room_echoes_follow_the_direct_sound_and_decay():
    click = np.zeros(8000, np.float32)
    click[1000] = 1.0
    heard = mixing.in_room(click, decay_s=0.2, rate_hz=RATE_HZ, rng=np.random.default_rng(0))
    assert (len(heard), np.abs(heard).argmax()) == (8000, 1000)
    assert np.abs(heard[:1000]).max() < 1e-6
    assert heard[1000] == pytest.approx(1.0, abs=1e-5)
    levels = [mixing.dbfs(heard[start : start + 200]) for start in (1001, 1801)]
    assert levels[0] - levels[1] == pytest.approx(30.0, abs=4.0)  # 0.1 s later
    assert np.sum(np.square(heard[1001:])) == pytest.approx(10**-0.3, rel=1e-3)
