"""Dirt: counted, spread, and only where it is said to be."""

import re
from collections import Counter

import numpy as np
import pytest

from data_prepare.synthetic.call import Row, draw_cast, write_call
from data_prepare.synthetic.dirt import ROW_KINDS, dirt_of_event, misalign, place_dirt


def rows_and_operator(seconds: float = 300.0) -> tuple[list[Row], object]:
    rng = np.random.default_rng(0)
    cast = draw_cast(rng, first_id=1, seconds=seconds, is_native=True)
    return write_call(rng, cast, seconds=seconds), cast.operator


def dirty_rows(kinds: list[str]) -> list[Row]:
    rows, operator = rows_and_operator()
    return place_dirt(np.random.default_rng(1), rows, kinds, operator=operator)


def test_dirt_of_event_share_is_kept_over_all_events() -> None:
    kinds = [k for n in range(100) for k in dirt_of_event(n, rows_per_event=12.5, dirt=0.02)]
    counts = Counter(kinds)
    assert len(kinds) == 25
    assert set(counts) == set(ROW_KINDS)
    assert max(counts.values()) - min(counts.values()) <= 1


def test_dirt_of_event_no_dirt_gives_none() -> None:
    assert dirt_of_event(7, rows_per_event=100.0, dirt=0.0) == []


def test_place_dirt_each_kind_is_marked_once_and_apart() -> None:
    rows = dirty_rows(list(ROW_KINDS))
    places = [n for n, row in enumerate(rows) if row.dirt]
    assert sorted(rows[n].dirt for n in places) == sorted(ROW_KINDS)
    assert places[0] > 0
    assert min(np.diff(places)) >= 3


def test_place_dirt_clean_rows_stay_as_they_were() -> None:
    clean, _ = rows_and_operator()
    kept = [row for row in dirty_rows(list(ROW_KINDS)) if row.dirt is None]
    assert set(kept) <= set(clean)


@pytest.mark.parametrize(
    ("kind", "text"),
    [("empty_sentence", r"^$"), ("tab", r"\S\t\S"), ("hash", "#"), ("quotes", '"')],
)
def test_place_dirt_text_kinds_show_in_the_text(kind: str, text: str) -> None:
    (row,) = [row for row in dirty_rows([kind]) if row.dirt]
    assert row.dirt == kind
    assert re.search(text, row.text)


@pytest.mark.parametrize("kind", ["operator_spoken", "operator_silent"])
def test_place_dirt_operator_instructions_are_not_what_is_said(kind: str) -> None:
    (row,) = [row for row in dirty_rows([kind]) if row.dirt]
    assert "Operator Instructions" in row.text
    assert row.person.role == "operator"
    assert bool(row.sentence.clauses) == (kind == "operator_spoken")


def test_misalign_every_text_belongs_to_another_row() -> None:
    rows, _ = rows_and_operator()
    moved = misalign(rows)
    assert sorted(row.text for row in moved) == sorted(row.text for row in rows)
    assert sum(row.text == row.sentence.written for row in moved) < 0.1 * len(rows)
