"""Place the known dirt of the corpus on purpose, and say where.

Dirt of rows sits on a share of all rows, its kinds in turn; dirt of events sits on events that are
made for it, so that the wanted hours stay clean of it.
"""

from dataclasses import replace

import numpy as np

from data_prepare.synthetic.call import Person, Row
from data_prepare.synthetic.text import Sentence, draw_sentence

# Kind -> what it is. The first five spoil their row; the others a careful reader takes as they are.
ROW_KINDS = {
    "operator_spoken": "text 'Operator Instructions', another sentence is spoken",
    "operator_silent": "text 'Operator Instructions', nobody speaks",
    "empty_sentence": "no text, a sentence is spoken",
    "time_backwards": "the row claims to start before the row above it",
    "broken_clock": "a letter in the clock string",
    "fraction_0": "clock without a fraction",
    "fraction_1": "clock with one digit of fraction",
    "fraction_2": "clock with two digits of fraction",
    "fraction_6": "clock with six digits of fraction",
    "quotes": "double quotes in the text, in pairs or alone",
    "hash": "a number sign in the text",
    "tab": "a tab in the text",
}
SPOILING_ROW_KINDS = tuple(ROW_KINDS)[:5]

EVENT_KINDS = {
    "short_recording": "the recording ends before its transcript",
    "missing_recording": "there is no recording",
    "missing_metadata": "the event is not in the metadata",
    "empty_transcript": "the transcript is empty, or has only its header",
    "misaligned": "the texts belong to other rows; the event is in exclude_event_list.json",
}

_SILENCE = Sentence("", (), "")
_INSTRUCTIONS = ("Operator Instructions", "(Operator Instructions)", "[Operator Instructions]")
_MIN_DISTANCE_ROWS = 3


def dirt_of_event(index: int, *, rows_per_event: float, dirt: float) -> list[str]:
    """Give the kinds of dirt for the rows of an event: the share is kept over all events.

    Arguments
    ---------
    index : int
        Number of the event, from 0.
    rows_per_event : float
        How many rows an event is expected to have.
    dirt : float
        Share of rows with dirt, 0 to 1.

    Returns
    -------
    list of str
        Of `ROW_KINDS`, which come in turn.
    """
    per_event = dirt * rows_per_event
    kinds = list(ROW_KINDS)
    numbers = range(int(index * per_event + 1e-9), int((index + 1) * per_event + 1e-9))
    return [kinds[number % len(kinds)] for number in numbers]


def place_dirt(
    rng: np.random.Generator, rows: list[Row], kinds: list[str], *, operator: Person
) -> list[Row]:
    """Put dirt on rows that are not near each other, as far as the rows reach.

    Arguments
    ---------
    rng : np.random.Generator
        Source of all choices.
    rows : list[Row]
        A clean call.
    kinds : list[str]
        Of `ROW_KINDS`.
    operator : Person
        Whose rows the ``Operator Instructions`` are.

    Returns
    -------
    list of Row
        ``dirt`` says what was placed. The two kinds of ``Operator Instructions`` and the sentence
        without text come as rows of their own; the others change a row. The first row stays clean.
    """
    chosen: dict[int, str] = {}
    free = [int(place) for place in rng.permutation(np.arange(1, len(rows)))]
    for kind in kinds:
        place = next(
            (p for p in free if all(abs(p - q) >= _MIN_DISTANCE_ROWS for q in chosen)), None
        )
        if place is not None:
            chosen[place] = kind
    dirty: list[Row] = []
    for place, row in enumerate(rows):
        if place in chosen:
            dirty += _dirty(rng, row, chosen[place], operator=operator)
        else:
            dirty.append(row)
    return dirty


def misalign(rows: list[Row]) -> list[Row]:
    """Give each row the text of the next."""
    texts = [row.text for row in rows[1:]] + [rows[0].text]
    return [replace(row, text=text) for row, text in zip(rows, texts, strict=True)]


def _dirty(rng: np.random.Generator, row: Row, kind: str, *, operator: Person) -> list[Row]:
    if kind in ("quotes", "hash"):
        sentence = draw_sentence(rng, kind)
        return [replace(row, sentence=sentence, text=sentence.written, dirt=kind)]
    if kind == "tab":
        words = row.text.split(" ")
        cut = int(rng.integers(1, len(words)))
        text = " ".join(words[:cut]) + "\t" + " ".join(words[cut:])
        return [replace(row, text=text, dirt=kind)]
    if kind == "empty_sentence":
        sentence = draw_sentence(rng, "untranscribed")
        return [replace(row, sentence=sentence, text="", dirt=kind), row]
    if kind in ("operator_spoken", "operator_silent"):
        is_spoken = kind == "operator_spoken"
        sentence = draw_sentence(rng, "untranscribed") if is_spoken else _SILENCE
        text = _INSTRUCTIONS[int(rng.integers(len(_INSTRUCTIONS)))]
        return [Row(operator, row.session, sentence, text, kind), row]
    return [replace(row, dirt=kind)]
