"""The grammar: written and said forms belong together."""

import re

import numpy as np
import pytest

from data_prepare.synthetic.phrases import SENTENCES, SLOTS
from data_prepare.synthetic.text import draw_sentence, read_sentence

NAMES = {"who": "Sarah Miller", "first": "Sarah", "company": "Blue River"}


def drawn(num_sentences: int, *, seed: int = 0) -> list:
    rng = np.random.default_rng(seed)
    roles = ["ceo", "cfo", "question", "answer", "operator_question", "thanks"]
    return [draw_sentence(rng, roles[n % 6], names=NAMES) for n in range(num_sentences)]


def test_read_sentence_marked_forms_are_written_and_said_apart() -> None:
    sentence = read_sentence(
        "Adjusted <EBITDA|eebitdah> grew <5%|five percent>, in the <U.S.|U S>."
    )
    assert sentence.written == "Adjusted EBITDA grew 5%, in the U.S."
    assert sentence.clauses == (
        ("Adjusted eebitdah grew five percent", ","),
        ("in the U S", "."),
    )
    assert sentence.words == "Adjusted EBITDA grew five percent in the U S"


def test_read_sentence_filler_and_guess_are_written_only() -> None:
    sentence = read_sentence("We -- it is [theoretically] a follow-up.")
    assert sentence.written == "We -- it is [theoretically] a follow-up."
    assert sentence.clauses == (("We", "--"), ("it is theoretically a follow up", "."))


@pytest.mark.parametrize("role", sorted(SENTENCES))
def test_draw_sentence_any_role_leaves_no_markup(role: str) -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        sentence = draw_sentence(rng, role, names=NAMES)
        assert not re.search(r"[<>|{}]", sentence.written + sentence.words)
        assert re.fullmatch(r"[A-Za-z ]+", sentence.words)


def test_slots_every_one_is_used() -> None:
    text = " ".join(value for values in [*SENTENCES.values(), *SLOTS.values()] for value in values)
    used = set(re.findall(r"\{(\w+)\}", text)) | {"woman", "man", "family"}
    assert set(SLOTS) <= used
    assert used - set(SLOTS) == {"who", "first"}


def test_draw_sentence_said_form_decides_written_form() -> None:
    written_of: dict[str, str] = {}
    for sentence in drawn(5000):
        said = "|".join(f"{words}{mark}" for words, mark in sentence.clauses)
        assert written_of.setdefault(said, sentence.written) == sentence.written


def test_draw_sentence_thousands_few_repeat_and_words_stay_few() -> None:
    sentences = [s.written for n, s in enumerate(drawn(6000)) if n % 6 < 4]
    words = {
        re.sub(r"[^A-Z0-9]", "", word) for s in drawn(6000) for word in s.written.upper().split()
    }
    assert len(set(sentences)) > 0.85 * len(sentences)
    assert 350 <= len(words) <= 600


def test_draw_sentence_slot_twice_is_filled_differently() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        words = draw_sentence(rng, "hash").words.removesuffix(".")
        first, second = re.fullmatch(
            r"We are still number one in (.+) and number two in (.+)", words
        ).groups()
        assert first != second
