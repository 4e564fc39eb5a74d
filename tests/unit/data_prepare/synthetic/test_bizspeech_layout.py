"""Clock strings, plans and transcripts of the BizSpeech layout."""

import numpy as np
import pytest

from data_prepare.synthetic.bizspeech_layout import (
    clock,
    is_native_call,
    plan,
    recording_format,
    transcript_lines,
)
from data_prepare.synthetic.call import Row, draw_cast
from data_prepare.synthetic.dirt import EVENT_KINDS
from data_prepare.synthetic.options import Options
from data_prepare.synthetic.recording import Timeline
from data_prepare.synthetic.text import read_sentence


def options(**changes) -> Options:
    values = {
        "hours": 1.0, "seed": 0, "layouts": ("bizspeech",), "minutes_per_call": 3.0,
        "nonnative": 0.25, "dirt": 0.0, "spgispeech_hours": 0.1, "librispeech_hours": 0.1,
    }  # fmt: skip
    return Options(**(values | changes))


def rows(*dirt: str | None) -> list[Row]:
    cast = draw_cast(np.random.default_rng(0), first_id=7, seconds=60.0, is_native=True)
    sentence = read_sentence("Revenue grew <5%|five percent>.")
    return [Row(cast.ceo, "presentation", sentence, sentence.written, kind) for kind in dirt]


@pytest.mark.parametrize(
    ("digits", "text"),
    [(0, "01:02:03"), (1, "01:02:03.0"), (2, "01:02:03.04"), (3, "01:02:03.045"),
     (6, "01:02:03.045678")],
)  # fmt: skip
def test_clock_digits_cut_the_fraction(digits: int, text: str) -> None:
    assert clock(3_723_045_678, digits=digits) == text


def test_recording_format_first_six_hold_all_types_rates_and_channels() -> None:
    forms = [recording_format(index) for index in range(6)]
    assert {form.file_type for form in forms} == {"wav", "mp3"}
    assert {form.rate_hz for form in forms} == {8000, 16000, 32000}
    assert {form.num_channels for form in forms} == {1, 2}


def test_is_native_call_share_is_kept() -> None:
    assert sum(not is_native_call(index, 0.3) for index in range(1000)) == 300


def test_plan_clean_hours_are_shared_out_and_at_least_six_calls() -> None:
    assert [len(plan(options(hours=hours))) for hours in (1 / 60, 1.0, 10.0)] == [6, 20, 200]
    assert sum(unit.seconds for unit in plan(options())) == pytest.approx(3600.0)


def test_plan_dirty_events_come_on_top() -> None:
    kinds = [unit.kind for unit in plan(options(dirt=0.02))]
    assert kinds == [""] * 20 + list(EVENT_KINDS)


def test_transcript_lines_dirty_clocks_are_as_asked_for() -> None:
    kinds = (None, "broken_clock", "time_backwards", "fraction_0", "fraction_6")
    starts_ms = [500, 5000, 9000, 13000, 17000]
    lines = transcript_lines(np.random.default_rng(0), rows(*kinds), starts_ms)
    cells = [line.split("\t") for line in lines]
    assert cells[0] == ["SentenceID", "Sentence", "SentenceTimeGen", "SpeakerID", "Session"]
    assert cells[1] == ["1", "Revenue grew 5%.", "00:00:00.500", "8", "presentation"]
    times = [row[2] for row in cells[2:]]
    assert times[0] == "00:0x:05.000"
    assert times[1] < "00:00:05"
    assert times[2] == "00:00:13"
    assert times[3].startswith("00:00:17.000")
    assert len(times[3]) == len("00:00:17.000123")


def test_timeline_starts_fall_on_what_the_clock_can_write() -> None:
    timeline = Timeline(np.random.default_rng(0))
    timeline.guess(rows(None, "fraction_0", "fraction_1", "fraction_2"))
    starts_ms = timeline.starts_ms
    assert [start % step for start, step in zip(starts_ms[1:], (1000, 100, 10), strict=True)] == [
        0
    ] * 3
    assert starts_ms == sorted(starts_ms)


def test_options_faults_are_told_all_at_once() -> None:
    with pytest.raises(ValueError, match=r"hours is -1.*dirt is 2.*layouts is \('ted',\)"):
        options(hours=-1, dirt=2, layouts=("ted",)).check()
