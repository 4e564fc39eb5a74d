from collections import Counter

import pytest

from data_prepare.filters import Filters, Rejection, RejectionCounts, check_rejected_share
from data_prepare.utterance import Utterance

FILTERS = Filters(
    min_duration_s=1.0,
    max_duration_s=10.0,
    min_chars_per_s=1.0,
    max_chars_per_s=20.0,
    reject_texts=("Operator Instructions",),
    allow_empty_text=False,
)


def reason(text, *, seconds=2.0, filters=FILTERS):
    rejection = filters.check(Utterance("u", "r", 5.0, 5.0 + seconds, text, "s", "g", ""))
    return rejection.reason if rejection else None


@pytest.mark.parametrize(
    ("text", "seconds", "expected"),
    [
        ("Good morning to all of you.", 2.0, None),
        ("", 2.0, "empty_text"),
        ("[operator instructions]", 2.0, "text_reject"),
        ("Good morning.", 0.9, "too_short"),
        ("Good morning.", 1.0, None),
        ("Good morning.", 10.0, None),
        ("Good morning.", 10.1, "too_long"),
        ("Yes", 4.0, "too_few_chars"),
        ("x" * 60, 2.0, "too_many_chars"),
    ],
)
def test_check_bound_names_its_reason(text, seconds, expected):
    assert reason(text, seconds=seconds) == expected


def test_check_rejection_tells_value_and_bound():
    rejection = FILTERS.check(Utterance("u", "r", 0.0, 0.25, "Yes", "s", "g", ""))
    assert rejection == Rejection("u", "too_short", "0.250 s, at least 1.0 s")


def test_check_empty_text_allowed_has_no_speed():
    filters = Filters(0.0, 10.0, 1.0, 20.0, (), allow_empty_text=True)
    assert reason("", filters=filters) is None
    assert reason("", seconds=0.0, filters=filters) == "too_short"


def test_rejection_counts_choices_are_no_faults():
    counts = RejectionCounts()
    counts.add([Rejection("a", "x", ""), Rejection("b", "y", "", is_choice=True)] * 2)
    assert (counts.faults, counts.choices) == (Counter(x=2), Counter(y=2))


def test_check_rejected_share_too_large_lists_reasons():
    faults = Counter(too_long=3, empty_text=1)
    with pytest.raises(ValueError, match=r"4 of 10 .*40\.0%.* too_long 3, empty_text 1.*listing"):
        check_rejected_share(faults, num_kept=6, max_share=0.39, listing="the listing")
    assert check_rejected_share(faults, num_kept=6, max_share=0.4, listing="") == 0.4
    assert check_rejected_share(Counter(), num_kept=0, max_share=0.0, listing="") == 0.0
