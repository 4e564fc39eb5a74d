"""Sentence pairs: plain English, and the same in a language that is made by rules.

The language has the code ``qaa`` (ISO 639 keeps qaa to qtz for such uses). An English sentence is
``[time] subject verb object [place]``; its translation follows from it by these rules alone:

1. Order: time, place, subject, object, verb; "not" comes last, as ``nek``.
2. A noun is masculine (its stem ends with a consonant) or feminine (its stem ends with ``a``). Its
   plural ends with ``i`` or ``e``, in the place of ``a``. As an object it takes a further ``n``.
3. "a" is ``un`` or ``una``; "the" is ``lo``, ``la``, ``li``, ``le`` by gender and number. Numbers
   stand before the noun and do not change.
4. An adjective follows its noun and ends as the article does: ``o``, ``a``, ``i``, ``e``.
5. A verb is its stem, ``ar`` (present), ``it`` (past) or ``od`` (future), and ``en`` if the subject
   is plural.
6. The first letter is a capital; a time is set off by a comma in both languages.

So a translator must recognise the words, move them, and inflect them by others that may stand far
away. All words of the language are invented.
"""

from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from data_prepare.synthetic.lexicon import (
    ADJECTIVES,
    NUMBERS,
    OBJECTS,
    PEOPLE,
    PLACES,
    PRONOUNS,
    TIMES,
    VERBS,
    Noun,
    Verb,
)

LANGUAGE = "qaa"

T = TypeVar("T")
Tense = Literal["present", "past", "future"]
_TENSE_ENDINGS: dict[Tense, str] = {"present": "ar", "past": "it", "future": "od"}
_PLURAL_ENDING = "en"
_VOWELS = {("m", False): "o", ("f", False): "a", ("m", True): "i", ("f", True): "e"}
_TIME_SHARE, _PLACE_SHARE, _NOT_SHARE = 0.5, 0.5, 0.2
_ADJECTIVE_SHARE, _PRONOUN_SHARE = 0.5, 0.2


@dataclass(frozen=True, slots=True)
class NounPhrase:
    """A noun with what belongs to it.

    Arguments
    ---------
    noun : Noun
        Which.
    determiner : str
        ``a``, ``the``, or a number of `NUMBERS` (then the noun is plural).
    adjective : str | None
        One of `ADJECTIVES`.
    is_plural : bool
        Whether it is more than one.
    """

    noun: Noun
    determiner: str
    adjective: str | None
    is_plural: bool

    def english(self) -> str:
        """Return the phrase in English."""
        noun = self.noun.plural if self.is_plural else self.noun.singular
        words = [self.determiner, self.adjective, noun]
        if self.determiner == "a" and (self.adjective or noun)[0] in "aeiou":
            words[0] = "an"
        return " ".join(word for word in words if word)

    def translation(self, *, is_object: bool) -> str:
        """Return the phrase in the other language (rules 2 to 4)."""
        vowel = _VOWELS[self.noun.gender, self.is_plural]
        if self.determiner == "the":
            first = f"l{vowel}"
        elif self.determiner == "a":
            first = "un" if self.noun.gender == "m" else "una"
        else:
            first = NUMBERS[self.determiner]
        words = [first, inflected(self.noun, is_plural=self.is_plural, is_object=is_object)]
        if self.adjective is not None:
            words.append(ADJECTIVES[self.adjective] + vowel)
        return " ".join(words)


@dataclass(frozen=True, slots=True)
class Statement:
    """What a sentence says, in no language.

    Arguments
    ---------
    subject : NounPhrase | str
        A phrase, or a pronoun of `PRONOUNS`.
    verb : Verb
        Which.
    tense : Tense
        When.
    is_negated : bool
        Whether it is not so.
    object : NounPhrase
        To whom or what it is done.
    time : str | None
        One of `TIMES`.
    place : str | None
        One of `PLACES`.
    """

    subject: NounPhrase | str
    verb: Verb
    tense: Tense
    is_negated: bool
    object: NounPhrase
    time: str | None
    place: str | None

    @property
    def is_plural(self) -> bool:
        """Whether the subject is more than one."""
        if isinstance(self.subject, str):
            return PRONOUNS[self.subject].is_plural
        return self.subject.is_plural

    def english(self) -> str:
        """Return the sentence in English."""
        subject = self.subject if isinstance(self.subject, str) else self.subject.english()
        words = [subject, self._english_verb(), self.object.english(), self.place or ""]
        return _sentence(self.time, words)

    def translation(self) -> str:
        """Return the sentence in the other language (rules 1 and 5)."""
        if isinstance(self.subject, str):
            subject = PRONOUNS[self.subject].word
        else:
            subject = self.subject.translation(is_object=False)
        verb = self.verb.stem + _TENSE_ENDINGS[self.tense]
        verb += _PLURAL_ENDING if self.is_plural else ""
        words = [PLACES[self.place] if self.place else "", subject]
        words += [self.object.translation(is_object=True), verb, "nek" if self.is_negated else ""]
        return _sentence(TIMES[self.time].word if self.time else None, words)

    def _english_verb(self) -> str:
        verb, is_third = self.verb, not self.is_plural
        if self.tense == "future":
            return f"will not {verb.base}" if self.is_negated else f"will {verb.base}"
        if self.is_negated:
            helper = "did" if self.tense == "past" else "does" if is_third else "do"
            return f"{helper} not {verb.base}"
        if self.tense == "past":
            return verb.past
        return verb.third if is_third else verb.base


def inflected(noun: Noun, *, is_plural: bool, is_object: bool) -> str:
    """Return a noun of the language in number and case (rule 2)."""
    word = noun.stem
    if is_plural:
        word = word.removesuffix("a") + _VOWELS[noun.gender, True]
    if not is_object:
        return word
    return word + ("n" if word[-1] in "aeio" else "en")


def draw_statement(rng: np.random.Generator) -> Statement:
    """Draw what a sentence says.

    Arguments
    ---------
    rng : np.random.Generator
        Source of all choices.

    Returns
    -------
    Statement
        Its tense fits its time.
    """
    time = _choose(rng, list(TIMES)) if rng.random() < _TIME_SHARE else None
    tenses: list[Tense] = [TIMES[time].tense] if time else list(_TENSE_ENDINGS)
    subject: NounPhrase | str
    if rng.random() < _PRONOUN_SHARE:
        subject = _choose(rng, list(PRONOUNS))
    else:
        subject = _draw_phrase(rng, PEOPLE)
    return Statement(
        subject=subject,
        verb=_choose(rng, VERBS),
        tense=_choose(rng, tenses),
        is_negated=bool(rng.random() < _NOT_SHARE),
        object=_draw_phrase(rng, OBJECTS),
        time=time,
        place=_choose(rng, list(PLACES)) if rng.random() < _PLACE_SHARE else None,
    )


def _draw_phrase(rng: np.random.Generator, nouns: list[Noun]) -> NounPhrase:
    determiner = _choose(rng, ["a", "the", "the", "many"])
    is_plural = determiner == "many" or (determiner == "the" and bool(rng.random() < 0.5))
    return NounPhrase(
        noun=_choose(rng, nouns),
        determiner=_choose(rng, list(NUMBERS)) if determiner == "many" else determiner,
        adjective=_choose(rng, list(ADJECTIVES)) if rng.random() < _ADJECTIVE_SHARE else None,
        is_plural=is_plural,
    )


def _sentence(time: str | None, words: list[str]) -> str:
    rest = " ".join(word for word in words if word)
    text = f"{time}, {rest}." if time else f"{rest}."
    return text[0].upper() + text[1:]


def _choose(rng: np.random.Generator, values: list[T]) -> T:
    return values[int(rng.integers(len(values)))]
