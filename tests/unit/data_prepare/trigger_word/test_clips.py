"""A clip is decided by seed, split and its number; its record is the truth about its samples."""

import numpy as np
import pytest
import soundfile

from data_prepare.trigger_word import clips, mixing
from data_prepare.trigger_word.clips import ClipMaker, ClipOptions
from data_prepare.trigger_word.words import words_of_folder
from tests.unit.data_prepare.trigger_word.sweeps import RATE_HZ, buzz, write_words

SMALL = {"rate_hz": RATE_HZ, "clip_s": 2.0, "max_triggers": 3, "max_negatives": 2}


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    return words_of_folder(write_words(tmp_path_factory.mktemp("words"), num=3))


def maker(words, *, split="train", seed=0, **options) -> ClipMaker:
    return ClipMaker(words, ClipOptions(**{**SMALL, **options}), split=split, seed=seed)


def test_clip_depends_on_seed_split_and_number_alone(words):
    first = maker(words)
    late = [first.make(n) for n in (5, 0, 3)][2]
    np.testing.assert_array_equal(maker(words).make(3).samples, late.samples)
    others = [maker(words).make(4), maker(words, seed=1).make(3), maker(words, split="x").make(3)]
    for other in others:
        assert not np.array_equal(other.samples, late.samples)


def test_clip_keeps_words_and_no_noise_in_memory(words, monkeypatch):
    read, found = clips.read_sound, []
    monkeypatch.setattr(clips, "read_sound", lambda w, **k: found.append(w.role) or read(w, **k))
    own = maker(words)
    for number in (*range(20), *range(20)):
        own.make(number)
    assert sorted(found) == ["negative"] * 3 + ["trigger"] * 3


def test_clip_level_is_met_unless_clipped(words):
    for number in range(10):
        clip = maker(words).make(number)
        assert len(clip.samples) == 2 * RATE_HZ
        if not clip.num_clipped:
            level = mixing.dbfs((clip.samples / 32768).astype(np.float32))
            assert level == pytest.approx(-20.0, abs=0.1)


def test_clip_words_lie_where_the_record_says(words):
    quiet = maker(words, background_db=-60.0, max_negatives=0, trim_db=None)
    clip = next(clip for clip in map(quiet.make, range(20)) if len(clip.triggers) > 1)
    power = np.square(clip.samples.astype(np.float64)).reshape(-1, RATE_HZ // 1000).mean(axis=1)
    is_loud = np.zeros(2000, bool)
    for start, end in clip.record()["trigger_spans_ms"]:
        is_loud[start : end + 1] = True
    assert clip.record()["trigger_ends_ms"] == [end for _, (_, end) in clip.triggers]
    assert power[~is_loud].max() < 0.01 * np.median(power[is_loud])


def test_clip_counts_of_words_are_alike(words):
    numbers = [
        len(c.triggers) + c.num_left_out
        for c in map(maker(words, max_negatives=0).make, range(200))
    ]
    shares = np.bincount(numbers, minlength=4) / 200
    assert np.all(np.abs(shares - 0.25) < 0.12)


def test_clip_without_room_ends_and_counts(words):
    clips = [maker(words, clip_s=0.4, placement_tries=3).make(n) for n in range(20)]
    assert sum(clip.num_left_out for clip in clips) > 0
    assert all(len(clip.triggers) + len(clip.negatives) <= 2 for clip in clips)


def test_clip_snr_is_drawn_from_its_range(words):
    made = [maker(words, snr_db=(3.0, 6.0)).make(n) for n in range(20)]
    assert all(3.0 <= clip.snr_db <= 6.001 for clip in made if clip.snr_db is not None)
    assert [clip.snr_db is None for clip in made] == [
        not (clip.triggers or clip.negatives) for clip in made
    ]


def test_clip_gain_changes_single_words(words):
    levels = [
        maker(words, gain_db=(db, db), max_negatives=0, target_dbfs=None).make(3) for db in (0, -6)
    ]
    loud, soft = (mixing.dbfs((c.samples / 32768).astype(np.float32)) for c in levels)
    assert soft < loud or not levels[0].triggers


def test_clip_speed_changes_words_of_train_alone(words):
    def lengths(split: str, **options) -> set[int]:
        made = map(maker(words, split=split, max_negatives=0, **options).make, range(20))
        return {end - start for clip in made for _, (start, end) in clip.triggers}

    assert lengths("test", train_speed=(0.8, 1.25)) == lengths("test")
    assert len(lengths("train", train_speed=(0.8, 1.25))) > 2 * len(lengths("train"))


def test_clip_room_changes_words_and_not_their_places(words):
    clips = [maker(words, **options).make(3) for options in ({}, {"room_s": (0.2, 0.5)})]
    dry, wet = clips
    assert dry.triggers and dry.triggers == wet.triggers
    assert not np.array_equal(dry.samples, wet.samples)


def test_clip_span_of_a_word_among_noise_is_without_the_noise(tmp_path):
    rng = np.random.default_rng(0)
    folder = write_words(tmp_path / "words", num=1)
    wave = 0.02 * rng.standard_normal(RATE_HZ)
    wave[2000:4400] += buzz()
    soundfile.write(folder / "activates" / "0.wav", wave, RATE_HZ, subtype="PCM_16")
    noisy = maker(words_of_folder(folder), words_among_noise=True, max_triggers=1)
    spans = [clip.triggers[0][1] for clip in map(noisy.make, range(20)) if clip.triggers]
    assert spans and all(abs(end - start - 299) < 60 for start, end in spans)
    assert all(start >= 200 and end < 2000 - 500 for start, end in spans)


def test_options_tell_all_faults():
    told = r"rate_hz is 1.*clip_s is 0.*gain_db is \(1, 0\).*train_speed is \(0.1, 1\)"
    with pytest.raises(ValueError, match=told):
        ClipOptions(rate_hz=1, clip_s=0, gain_db=(1, 0), train_speed=(0.1, 1))
