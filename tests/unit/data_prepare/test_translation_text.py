"""Forms of transcripts, ratios of characters."""

import pytest

from data_prepare.translation_text import char_ratio, ratio_histogram, source_text


@pytest.mark.parametrize(
    ("form", "text", "expected"),
    [
        ("raw", " It's  5 past two. ", "It's 5 past two."),
        ("fbk", "It's 5 past two. (Laughter) Yes!", "its 5 past two yes"),
        ("fbk", "(Applause and cheers) Hi", "applause and cheers hi"),
        ("fbk", "well-known “words” – so", "wellknown “words” – so"),
        ("fixed", "It's 5 past two. (Laughter) Yes!", "its 5 past two yes"),
        ("fixed", "(Applause and cheers) Hi", "hi"),
        ("fixed", "well-known “words” – it’s", "well known words its"),
        ("fixed", "", ""),
    ],
)
def test_source_text_forms(form, text, expected):
    assert source_text(text, form) == expected


def test_char_ratio_counts_characters():
    assert char_ratio("abcd", "abcdef") == 1.5
    assert char_ratio("", "x") is None


def test_ratio_histogram_has_a_line_for_each_tenth():
    pairs = [("a" * 10, "b" * n) for n in (8, 8, 9, 16, 99)] + [("", "x")]
    lines = ratio_histogram(pairs).splitlines()
    assert [line.split()[:4] for line in lines[:3]] == [
        ["0.8", "to", "0.9", "2"], ["0.9", "to", "1.0", "1"], ["1.6", "to", "1.7", "1"],
    ]  # fmt: skip
    assert lines[3].split()[:2] == ["3.0", "to"]
    assert lines[-1].split() == ["no", "transcript", "1"]
