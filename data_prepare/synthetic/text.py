"""Fill the grammar: what is written in the transcript, and what is said."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from data_prepare.synthetic.phrases import SENTENCES, SLOTS

_SLOT = re.compile(r"\{(\w+)\}")
_TOKEN = re.compile(
    r"<(?P<form>[^|>]*)\|(?P<spoken>[^>]*)>(?P<form_mark>[,.?!]?)"
    r"|(?P<pause>--)"
    r"|(?P<word>[^\s<,.?!]+)(?P<word_mark>[,.?!]?)"
)
_NOT_SAID = str.maketrans({"[": "", "]": "", '"': "", "-": " "})


@dataclass(frozen=True, slots=True)
class Sentence:
    """What one utterance says.

    Arguments
    ---------
    written : str
        As in the transcript, e.g. ``Adjusted EBITDA grew 5%.``
    clauses : tuple of (str, str)
        For the voice: words as said and the mark that ends the clause, e.g.
        ``("Adjusted eebitdah grew five percent", ".")``.
    words : str
        Numbers and symbols written out, no marks, e.g. ``Adjusted EBITDA grew five percent``.
    """

    written: str
    clauses: tuple[tuple[str, str], ...]
    words: str


def draw_sentence(
    rng: np.random.Generator, role: str, *, names: Mapping[str, str] | None = None
) -> Sentence:
    """Draw a sentence of a role of `SENTENCES`.

    Arguments
    ---------
    rng : np.random.Generator
        Source of all choices.
    role : str
        E.g. ``cfo``.
    names : Mapping[str, str] | None
        Slots that the call decides (``company``, ``who``, ``first``).

    Returns
    -------
    Sentence
        No slot has the same filling twice, as far as it has others.
    """
    template = _choose(rng, SENTENCES[role])
    return read_sentence(_fill(rng, template, names or {}))


def read_sentence(marked: str) -> Sentence:
    """Read text whose slots are filled and in which ``<written|spoken>`` still stands."""
    written: list[str] = []
    words: list[str] = []
    clauses: list[tuple[str, str]] = []
    clause: list[str] = []
    for match in _TOKEN.finditer(marked):
        part = {name: value or "" for name, value in match.groupdict().items()}
        mark = part["pause"] or part["form_mark"] or part["word_mark"]
        form = part["form"] or part["word"]
        # A full stop ends "the U.S." and the sentence alike.
        written.append(form if form.endswith(".") and mark == "." else form + mark)
        if form:
            spoken = part["spoken"] or form.translate(_NOT_SAID)
            clause.append(spoken)
            words.append(form if form.isalpha() and " " not in spoken else spoken)
        if mark:
            clauses.append((" ".join(clause), mark))
            clause = []
    if clause:
        clauses.append((" ".join(clause), "."))
    return Sentence(" ".join(written), tuple(clauses), " ".join(words))


def draw_name(rng: np.random.Generator, *, gender: str) -> tuple[str, str]:
    """Draw first and family name for ``female`` or ``male``."""
    first = SLOTS["woman" if gender == "female" else "man"]
    return _choose(rng, first), _choose(rng, SLOTS["family"])


def draw_company(rng: np.random.Generator) -> str:
    """Draw the name of a company."""
    return _choose(rng, SLOTS["company"])


def _fill(rng: np.random.Generator, template: str, names: Mapping[str, str]) -> str:
    used: dict[str, set[str]] = {}
    while match := _SLOT.search(template):
        slot = match.group(1)
        values = [names[slot]] if slot in names else SLOTS[slot]
        taken = used.setdefault(slot, set())
        value = _choose(rng, [value for value in values if value not in taken] or values)
        # A filling with slots inside, such as "{rise}", may come again: its own slots differ.
        if "{" not in value:
            taken.add(value)
        template = template[: match.start()] + value + template[match.end() :]
    return template


def _choose(rng: np.random.Generator, values: list[str]) -> str:
    return values[int(rng.integers(len(values)))]
