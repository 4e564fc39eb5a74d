"""Calls: sessions in order, speakers of their own, length near what is wanted."""

import numpy as np
import pytest

from data_prepare.synthetic.call import (
    MAX_CAST,
    Cast,
    Row,
    draw_cast,
    length_s,
    write_call,
    write_monologue,
)


def call(seconds: float, *, seed: int = 0, is_native: bool = True) -> tuple[Cast, list[Row]]:
    rng = np.random.default_rng(seed)
    cast = draw_cast(rng, first_id=100, seconds=seconds, is_native=is_native)
    return cast, write_call(rng, cast, seconds=seconds)


@pytest.mark.parametrize("seconds", [10.0, 60.0, 600.0])
def test_write_call_any_length_has_presentation_then_questions(seconds: float) -> None:
    _, rows = call(seconds)
    sessions = [row.session for row in rows]
    assert sessions == sorted(sessions)
    assert set(sessions) == {"presentation", "q-and-a"}


def test_write_call_many_calls_sum_to_the_wanted_length() -> None:
    total_s = sum(length_s(call(120.0, seed=seed)[1]) for seed in range(20))
    assert total_s == pytest.approx(20 * 120.0, rel=0.03)


def test_write_call_roles_speak_in_their_sessions() -> None:
    cast, rows = call(300.0)
    assert {row.person.role for row in rows} == {"operator", "ceo", "cfo", "analyst"}
    assert not {row.person.id for row in rows[:5]} & {person.id for person in cast.analysts}
    assert rows[0].person == rows[-1].person == cast.operator


def test_draw_cast_longest_call_stays_within_its_numbers() -> None:
    cast, _ = call(7200.0)
    people = [cast.operator, cast.ceo, cast.cfo, *cast.analysts]
    assert [person.id for person in people] == [str(100 + n) for n in range(MAX_CAST)]
    assert len({person.voice for person in people}) == MAX_CAST


def test_draw_cast_nonnative_call_has_a_native_operator() -> None:
    cast, _ = call(120.0, is_native=False)
    assert cast.operator.voice.is_native
    assert not any(person.voice.is_native for person in (cast.ceo, cast.cfo, *cast.analysts))


def test_write_monologue_one_person_speaks() -> None:
    cast, _ = call(60.0)
    rows = write_monologue(np.random.default_rng(0), cast.ceo, seconds=30.0)
    assert {row.person.id for row in rows} == {cast.ceo.id}
    assert length_s(rows) == pytest.approx(30.0, abs=5.0)
