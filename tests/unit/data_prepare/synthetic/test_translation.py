"""The rules of the language, each on its own, and that English decides the translation."""

import re

import numpy as np
import pytest

from data_prepare.synthetic import lexicon
from data_prepare.synthetic.lexicon import OBJECTS, PEOPLE, VERBS
from data_prepare.synthetic.translation import (
    NounPhrase,
    Statement,
    draw_statement,
    inflected,
)

FARMER, TEACHER = PEOPLE[0], PEOPLE[1]
APPLE, LETTER = OBJECTS[0], OBJECTS[1]
SEE = VERBS[0]


def statement(**changes):
    values = {
        "subject": NounPhrase(FARMER, "the", "old", is_plural=False),
        "verb": SEE,
        "tense": "past",
        "is_negated": False,
        "object": NounPhrase(APPLE, "three", "red", is_plural=True),
        "time": "yesterday",
        "place": "in the market",
    }
    return Statement(**(values | changes))


def drawn(num, seed=0):
    rng = np.random.default_rng(seed)
    return [draw_statement(rng) for _ in range(num)]


def test_rule_1_order_and_negation():
    both = statement(is_negated=True)
    assert both.english() == "Yesterday, the old farmer did not see three red apples in the market."
    assert both.translation() == "Hier, merkate lo agrik antiko tris pomelen rube vidit nek."


@pytest.mark.parametrize(
    ("noun", "is_plural", "is_object", "word"),
    [
        (FARMER, False, False, "agrik"), (FARMER, True, False, "agriki"),
        (FARMER, False, True, "agriken"), (FARMER, True, True, "agrikin"),
        (TEACHER, False, False, "dosena"), (TEACHER, True, False, "dosene"),
        (TEACHER, False, True, "dosenan"), (TEACHER, True, True, "dosenen"),
    ],
)  # fmt: skip
def test_rule_2_nouns_by_number_and_case(noun, is_plural, is_object, word):
    assert inflected(noun, is_plural=is_plural, is_object=is_object) == word


@pytest.mark.parametrize(
    ("noun", "determiner", "is_plural", "words"),
    [
        (LETTER, "a", False, "un skrib"), (APPLE, "a", False, "una pomela"),
        (LETTER, "the", False, "lo skrib"), (APPLE, "the", False, "la pomela"),
        (LETTER, "the", True, "li skribi"), (APPLE, "the", True, "le pomele"),
        (LETTER, "five", True, "pent skribi"),
    ],
)  # fmt: skip
def test_rule_3_articles_and_numbers(noun, determiner, is_plural, words):
    phrase = NounPhrase(noun, determiner, None, is_plural=is_plural)
    assert phrase.translation(is_object=False) == words


def test_rule_4_adjectives_follow_and_agree():
    endings = {
        (noun, is_plural): NounPhrase(noun, "the", "green", is_plural=is_plural)
        .translation(is_object=True)
        .split()[-1]
        for noun in (LETTER, APPLE)
        for is_plural in (False, True)
    }
    assert list(endings.values()) == ["verdo", "verdi", "verda", "verde"]


@pytest.mark.parametrize(
    ("subject", "tense", "english", "verb"),
    [
        ("she", "present", "She sees", "vidar"), ("they", "present", "They see", "vidaren"),
        ("he", "past", "He saw", "vidit"), ("we", "past", "We saw", "viditen"),
        ("she", "future", "She will see", "vidod"), ("we", "future", "We will see", "vidoden"),
    ],
)  # fmt: skip
def test_rule_5_verbs_by_tense_and_number(subject, tense, english, verb):
    both = statement(subject=subject, tense=tense, time=None, place=None)
    assert both.english().startswith(english)
    assert both.translation().split()[-1] == f"{verb}."


@pytest.mark.parametrize(
    ("subject", "tense", "words"),
    [("she", "present", "does not see"), ("we", "present", "do not see"),
     ("he", "past", "did not see"), ("they", "future", "will not see")],
)  # fmt: skip
def test_english_negation(subject, tense, words):
    assert words in statement(subject=subject, tense=tense, is_negated=True).english()


def test_english_article_before_a_vowel():
    assert NounPhrase(APPLE, "a", None, is_plural=False).english() == "an apple"
    assert NounPhrase(LETTER, "a", "old", is_plural=False).english() == "an old letter"
    assert NounPhrase(APPLE, "a", "red", is_plural=False).english() == "a red apple"


def test_rule_6_sentences_are_written_alike_in_both():
    for both in drawn(300):
        for text in (both.english(), both.translation()):
            assert re.fullmatch(r"[A-Z][a-z]*( [a-z]+)*(, [a-z]+( [a-z]+)*)?\.", text), text
        assert ("," in both.english()) == ("," in both.translation())


def test_english_decides_the_translation():
    translation_of: dict[str, str] = {}
    for both in drawn(20_000):
        assert translation_of.setdefault(both.english(), both.translation()) == both.translation()
    assert len(translation_of) > 18_000


def test_words_of_the_language_are_distinct():
    stems = [noun.stem for noun in PEOPLE + OBJECTS] + [verb.stem for verb in VERBS]
    stems += [*lexicon.ADJECTIVES.values(), *lexicon.NUMBERS.values()]
    assert len(stems) == len(set(stems))


def test_tense_fits_the_time():
    for both in drawn(500):
        if both.time is not None:
            assert both.tense == lexicon.TIMES[both.time].tense
