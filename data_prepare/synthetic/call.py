"""Write the script of an earnings call: who says what, in presentation and in q-and-a."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from data_prepare.synthetic.text import Sentence, draw_company, draw_name, draw_sentence
from data_prepare.synthetic.voices import Voice, draw_voice

# A call shorter than this has no operator: its few sentences are a presenter's and an analyst's.
_SHORT_CALL_S = 45.0
_PRESENTATION_SHARE = 0.5
_SECONDS_PER_ANALYST = 45.0
_MAX_ANALYSTS = 12
MAX_CAST = 3 + _MAX_ANALYSTS

# Least squares over 1,500 utterances: seconds = letters said * this / words per minute + pause.
_SECONDS_PER_LETTER_AND_WPM = 9.1
_PAUSE_S = 0.62


@dataclass(frozen=True, slots=True)
class Person:
    """A speaker of one call."""

    id: str
    role: str
    first: str
    family: str
    voice: Voice

    @property
    def name(self) -> str:
        """First and family name."""
        return f"{self.first} {self.family}"


@dataclass(frozen=True, slots=True)
class Row:
    """A sentence of a call, and what its row in the transcript says of it.

    Arguments
    ---------
    person : Person
        Who speaks.
    session : str
        ``presentation`` or ``q-and-a``.
    sentence : Sentence
        What is said; without clauses nobody speaks for some seconds.
    text : str
        What the transcript holds.
    dirt : str, optional
        Kind of dirt placed on the row, of `data_prepare.synthetic.dirt.ROW_KINDS`.
    """

    person: Person
    session: str
    sentence: Sentence
    text: str
    dirt: str | None = None


@dataclass(frozen=True, slots=True)
class Cast:
    """The speakers of a call, and the company that calls."""

    company: str
    operator: Person
    ceo: Person
    cfo: Person
    analysts: tuple[Person, ...]


def draw_person(rng: np.random.Generator, number: int, role: str, *, is_native: bool) -> Person:
    """Draw a person whose first name fits the voice."""
    voice = draw_voice(rng, is_native=is_native)
    first, family = draw_name(rng, gender=voice.gender)
    return Person(str(number), role, first, family, voice)


def draw_cast(rng: np.random.Generator, *, first_id: int, seconds: float, is_native: bool) -> Cast:
    """Draw new persons for a call.

    Arguments
    ---------
    rng : np.random.Generator
        Source of all choices.
    first_id : int
        Number of the first speaker; at most ``MAX_CAST`` follow one another.
    seconds : float
        Length of the call: longer calls have more analysts.
    is_native : bool
        Whether presenters and analysts are native speakers; operators always are.

    Returns
    -------
    Cast
        Nobody of it is in another call.
    """
    num_analysts = int(np.clip(seconds / _SECONDS_PER_ANALYST, 1, _MAX_ANALYSTS))
    roles = ["operator", "ceo", "cfo"] + ["analyst"] * num_analysts
    people = [
        draw_person(rng, number, role, is_native=is_native or role == "operator")
        for number, role in enumerate(roles, start=first_id)
    ]
    return Cast(draw_company(rng), people[0], people[1], people[2], tuple(people[3:]))


def write_call(rng: np.random.Generator, cast: Cast, *, seconds: float) -> list[Row]:
    """Write the rows of a call of about the wanted length, two rows or more."""
    pen = _Pen(rng, cast)
    if seconds < _SHORT_CALL_S:
        rows = _take(pen.statements(), _PRESENTATION_SHARE * seconds)
        return rows + _take(pen.questions(), seconds - length_s(rows))
    opening = list(pen.opening())
    closing = list(pen.closing())
    presentation_s = _PRESENTATION_SHARE * seconds - length_s(opening)
    rows = opening + _take(pen.statements(), presentation_s)
    questions_s = seconds - length_s(rows + closing)
    return rows + _take(pen.introduced_questions(), questions_s) + closing


def write_monologue(rng: np.random.Generator, person: Person, *, seconds: float) -> list[Row]:
    """Write rows of one person, statements and questions and answers mixed."""

    def rows() -> Iterator[Row]:
        while True:
            role = str(rng.choice(["ceo", "cfo", "question", "answer"]))
            sentence = draw_sentence(rng, role)
            yield Row(person, "presentation", sentence, sentence.written)

    return _take(rows(), seconds)


def length_s(rows: list[Row]) -> float:
    """Estimate how long rows will take, pauses counted in."""
    letters = sum(len(row.sentence.words) / row.person.voice.rate_wpm for row in rows)
    return _SECONDS_PER_LETTER_AND_WPM * letters + _PAUSE_S * len(rows)


class _Pen:
    def __init__(self, rng: np.random.Generator, cast: Cast) -> None:
        self._rng = rng
        self._cast = cast

    def _say(self, person: Person, role: str, session: str, about: Person | None = None) -> Row:
        names = {"company": self._cast.company}
        if about is not None:
            names |= {"who": about.name, "first": about.first}
        sentence = draw_sentence(self._rng, role, names=names)
        return Row(person, session, sentence, sentence.written)

    def opening(self) -> Iterator[Row]:
        cast = self._cast
        yield self._say(cast.operator, "operator_opening", "presentation")
        yield self._say(cast.operator, "operator_handover", "presentation", cast.ceo)
        yield self._say(cast.ceo, "presenter_opening", "presentation", cast.cfo)

    def statements(self) -> Iterator[Row]:
        while True:
            for person in (self._cast.ceo, self._cast.cfo):
                for _ in range(int(self._rng.integers(2, 6))):
                    yield self._say(person, person.role, "presentation")

    def dialogue(self, analyst: Person) -> Iterator[Row]:
        presenter = self._cast.ceo if self._rng.random() < 0.5 else self._cast.cfo
        for _ in range(int(self._rng.integers(1, 3))):
            yield self._say(analyst, "question", "q-and-a")
            for _ in range(int(self._rng.integers(1, 4))):
                yield self._say(presenter, "answer", "q-and-a")
        if self._rng.random() < 0.5:
            yield self._say(analyst, "thanks", "q-and-a", presenter)

    def questions(self) -> Iterator[Row]:
        while True:
            for analyst in self._cast.analysts:
                yield from self.dialogue(analyst)

    def introduced_questions(self) -> Iterator[Row]:
        operator = self._cast.operator
        while True:
            for analyst in self._cast.analysts:
                yield self._say(operator, "operator_question", "q-and-a", analyst)
                yield from self.dialogue(analyst)

    def closing(self) -> Iterator[Row]:
        yield self._say(self._cast.ceo, "presenter_closing", "q-and-a")
        yield self._say(self._cast.operator, "operator_closing", "q-and-a")


def _take(rows: Iterator[Row], seconds: float) -> list[Row]:
    """Take rows, one at least, until the time is filled but for less than half a row."""
    taken: list[Row] = []
    total_s = 0.0
    for row in rows:
        row_s = length_s([row])
        if taken and total_s + row_s / 2.0 > seconds:
            break
        taken.append(row)
        total_s += row_s
    return taken
