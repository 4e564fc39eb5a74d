import pytest

from data_prepare.transcript import TranscriptError, find_ends, parse_clock, read_rows

HEADER = "SentenceID\tSentence\tSentenceTimeGen\tSpeakerID\tSession"


def rows_of(tmp_path, text, *, encoding="utf-8"):
    path = tmp_path / "t.txt"
    path.write_bytes(text.encode(encoding))
    return read_rows(path)


@pytest.mark.parametrize(
    ("clock", "seconds"),
    [
        ("00:00:01.5", 1.5),
        ("00:00:01.05", 1.05),
        ("00:00:01.123456", 1.123456),
        ("00:00:07", 7.0),
        ("01:02:03.25", 3723.25),
        (" 0:1:2 ", 62.0),
        ("100:00:00", 360000.0),
    ],
)
def test_parse_clock_fraction_is_decimal(clock, seconds):
    assert parse_clock(clock) == pytest.approx(seconds, abs=1e-9)


@pytest.mark.parametrize(
    "clock", ["", "x", "00:0x:01", "00:60:00", "00:00:61", "00:00", "-00:00:01", "00:00:01.", "1.5"]
)
def test_parse_clock_broken_gives_none(clock):
    assert parse_clock(clock) is None


def test_read_rows_quotes_hash_and_tabs_stay_in_the_text(tmp_path):
    row = '7\tHe said "yes\tto #1" -- 5%\t00:00:01\ts1\tq-and-a'
    (got,) = rows_of(tmp_path, f"{HEADER}\n{row}\n")
    assert got.values == {
        "SentenceID": "7",
        "Sentence": 'He said "yes to #1" -- 5%',
        "SentenceTimeGen": "00:00:01",
        "SpeakerID": "s1",
        "Session": "q-and-a",
    }


def test_read_rows_columns_in_other_places_are_found_by_header(tmp_path):
    header = "Extra\tSpeakerID\tSentenceTimeGen\tSentence\tSession\tSentenceID\tMore"
    (got,) = rows_of(tmp_path, f"{header}\nx\ts1\t00:00:01\ta\tb\tpresentation\t9\ty\n")
    assert got.values["Sentence"] == "a b"
    assert (got.values["SentenceID"], got.values["Session"]) == ("9", "presentation")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_read_rows_line_ends_and_mark_do_not_matter(tmp_path, end, encoding):
    text = end.join([HEADER, "1\té\u2028x\t00:00:01\ts\tq-and-a", "", "2\tb\t00:00:02\ts\tq-and-a"])
    first, second = rows_of(tmp_path, text, encoding=encoding)
    assert first.values["Sentence"] == "é x"
    assert (second.line, second.values["Session"]) == (4, "q-and-a")


def test_read_rows_broken_lines_are_told(tmp_path):
    path = tmp_path / "t.txt"
    path.write_bytes(f"{HEADER}\n1\tonly\n2\t".encode() + b"\xff\t00:00:01\ts\tq-and-a\n")
    short, binary = read_rows(path)
    assert short.values is binary.values is None
    assert "2 columns" in short.fault
    assert "not UTF-8" in binary.fault


def test_read_rows_header_lacks_columns_raises(tmp_path):
    with pytest.raises(TranscriptError, match="SpeakerID, Session"):
        rows_of(tmp_path, "SentenceID\tSentence\tSentenceTimeGen\n")
    with pytest.raises(TranscriptError, match="lacks"):
        rows_of(tmp_path, "")


def test_find_ends_next_row_ends_a_row():
    assert find_ends([0.0, 2.0, 3.5, 5.0]) == [("", 2.0), ("", 3.5), ("", 5.0), ("", None)]
    assert find_ends([]) == []


def reasons_of(starts_s):
    return [reason for reason, _ in find_ends(starts_s)]


def test_find_ends_row_in_the_past_spoils_itself_and_its_predecessors_end():
    assert reasons_of([0.0, 2.0, 4.0, 1.0, 6.0]) == [
        "",
        "",
        "unknown_end",
        "time_runs_backwards",
        "",
    ]


def test_find_ends_two_rows_that_contradict_are_both_rejected():
    assert reasons_of([0.0, 2.0, 1.0, 6.0, 8.0]) == [
        "unknown_end",
        "time_runs_backwards",
        "time_runs_backwards",
        "",
        "",
    ]


def test_find_ends_row_in_the_future_spoils_itself_only():
    ends = find_ends([0.0, 2.0, 900.0, 6.0, 8.0])
    assert ends == [
        ("", 2.0),
        ("unknown_end", None),
        ("time_runs_backwards", None),
        ("", 8.0),
        ("", None),
    ]


def test_find_ends_broken_clock_spoils_the_row_before_too():
    ends = find_ends([0.0, 2.0, None, 6.0])
    assert ends == [("", 2.0), ("unknown_end", None), ("broken_clock", None), ("", None)]


def test_find_ends_last_row_backwards_leaves_the_one_before_without_end():
    assert reasons_of([0.0, 3.0, 4.0, 5.0, 2.0])[3:] == ["unknown_end", "time_runs_backwards"]


def test_find_ends_rows_that_start_together_are_all_rejected():
    assert find_ends([60.0, 65.0, 65.0, 69.0, 75.0]) == [
        ("", 65.0),
        ("shared_start", None),
        ("shared_start", None),
        ("", 75.0),
        ("", None),
    ]
    assert reasons_of([1.0, 1.0, 1.0]) == ["shared_start"] * 3


def test_find_ends_rows_that_start_together_around_a_bad_row_are_rejected():
    assert reasons_of([65.0, None, 65.0, 69.0]) == [
        "shared_start",
        "broken_clock",
        "shared_start",
        "",
    ]
    assert reasons_of([60.0, 65.0, 3.0, 65.0, 69.0])[1:4] == [
        "shared_start",
        "time_runs_backwards",
        "shared_start",
    ]


def test_find_ends_start_of_a_row_out_of_order_is_not_shared():
    assert reasons_of([10.0, 20.0, 30.0, 10.0, 40.0]) == [
        "",
        "",
        "unknown_end",
        "time_runs_backwards",
        "",
    ]
