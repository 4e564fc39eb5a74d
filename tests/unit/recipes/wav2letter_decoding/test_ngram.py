"""n-gram models: ARPA files, the automaton, training, KenLM."""

import gzip
import math
import random
from itertools import product

import numpy as np
import pytest

from recipes.LibriSpeech.wav2letter.decoding import kenlm_model, ngram
from recipes.LibriSpeech.wav2letter.decoding.kenlm_model import KenLMModel
from recipes.LibriSpeech.wav2letter.decoding.ngram import NGramModel
from recipes.LibriSpeech.wav2letter.preparation.ngram_training import train_ngram
from tests.unit.recipes.wav2letter_decoding.exhaustive import lm_score, one

ARPA = """
\\data\\
ngram 1=6
ngram 2=3
ngram 3=1

\\1-grams:
-2.0\t<unk>
-99\t<s>\t-0.5
-1.0\t</s>
-0.5\ta\t-0.25
-0.75\tb\t-0.125
-0.5\tzz\t-0.1

\\2-grams:
-0.2\t<s> a\t-0.3
-0.1\ta b\t-0.6
-0.4\tzz a

\\3-grams:
-0.05\t<s> a b

\\end\\
"""


def grams_of(path):
    """Plain reading: n-gram to log10 and back-off."""
    grams = {}
    for line in path.read_text().splitlines():
        fields = line.split("\t")
        if len(fields) > 1:
            backoff = float(fields[2]) if len(fields) > 2 else 0.0
            grams[tuple(fields[1].split())] = (float(fields[0]), backoff)
    return grams


def plain_score(grams, history, word):
    if (*history, word) in grams:
        return grams[*history, word][0]
    if not history:
        return grams[("<unk>",)][0]
    return grams.get(history, (0, 0.0))[1] + plain_score(grams, history[1:], word)


def sentence_score(grams, words, order):
    total, history = 0.0, ("<s>",)
    for word in (*words, "</s>"):
        total += plain_score(grams, history[-(order - 1) :], word)
        history = (*history, word)
    return total


@pytest.fixture
def by_hand(tmp_path):
    path = tmp_path / "hand.arpa"
    path.write_text(ARPA)
    return path


def test_ngram_scores_follow_the_back_off_recursion(by_hand):
    model = NGramModel(by_hand, ["a", "b", "c"])
    start = one(model.start())
    # <s> a; back-off of <s>, then of nothing; the unknown c
    np.testing.assert_allclose(model.scores(start)[0], [-0.2, -0.5 - 0.75, -0.5 - 2.0])
    after_a = model.advance(start, one(0))
    assert model.scores(after_a)[0, 1] == pytest.approx(-0.05)
    after_b = model.advance(after_a, one(1))  # <s> a b: a b has a back-off
    assert model.finish(after_b)[0] == pytest.approx(-0.6 - 0.125 - 1.0)
    # c is unknown: nothing of the past matters any more
    np.testing.assert_allclose(model.scores(model.advance(after_b, one(2)))[0], [-0.5, -0.75, -2])


@pytest.mark.parametrize("is_zipped", [False, True])
def test_ngram_equals_plain_recursion_on_all_short_sentences(small_arpa, tmp_path, is_zipped):
    path = small_arpa
    if is_zipped:
        path = tmp_path / "small.arpa.gz"
        path.write_bytes(gzip.compress(small_arpa.read_bytes()))
    tokens = ["|", "a", "b", "1", "never"]
    model, grams = NGramModel(path, tokens), grams_of(small_arpa)
    for words in product(range(5), repeat=4):
        names = ["<unk>" if w == 4 else tokens[w] for w in words]
        assert lm_score(model, list(words)) == pytest.approx(
            sentence_score(grams, names, 4), abs=1e-5
        )


def test_ngram_states_are_equal_only_where_the_future_is(small_model):
    futures = {}
    for words in product(range(4), repeat=4):
        state = one(small_model.start())
        for word in words:
            state = small_model.advance(state, one(word))
        tail = [lm_score_from(small_model, state, rest) for rest in product(range(4), repeat=2)]
        known = futures.setdefault(int(state[0]), tail)
        np.testing.assert_allclose(tail, known, atol=1e-6)
    assert len(futures) < 4**4


def lm_score_from(model, state, tokens):
    total = 0.0
    for token in tokens:
        total += float(model.scores(state)[0, token])
        state = model.advance(state, one(token))
    return total


def test_ngram_pairs_equal_rows_for_many_tokens(tmp_path):
    draw = random.Random(0)
    names = [f"w{n}" for n in range(1100)]
    lines = [" ".join(draw.choices(names, k=12)) for _ in range(150)]
    path = train_ngram(lines, tmp_path / "words.arpa", order=3, tokens=names)
    model = NGramModel(path, names)
    states = one(model.start())
    for token in (5, 17, 900):
        states = np.concatenate([states, model.advance(states[-1:], one(token))])
    tokens = np.array([0, 17, 900, 1099])
    expected = model.scores(states)[np.arange(4), tokens]
    np.testing.assert_allclose(model.score_pairs(states, tokens), expected, atol=1e-5)


@pytest.mark.parametrize("kind", [NGramModel, KenLMModel])
def test_tables_grow(small_arpa, small_tokens, small_model, kind, monkeypatch):
    if kind is KenLMModel:
        pytest.importorskip("flashlight.lib.text.decoder.kenlm")
    for module in (ngram, kenlm_model):
        monkeypatch.setattr(module, "FIRST_CELLS", 1)
    model = kind(small_arpa, small_tokens.names)
    for words in product(range(4), repeat=4):
        expected = lm_score(small_model, list(words))
        assert lm_score(model, list(words)) == pytest.approx(expected, abs=1e-4)
    assert model._num_rows > 8


def test_ngram_cache_is_emptied_between_utterances(small_arpa, small_tokens):
    model = NGramModel(small_arpa, small_tokens.names, cache_bytes=1)
    model._max_rows = 3
    first = lm_score(model, [1, 2, 0, 1, 1])
    assert model._num_rows > 3
    model.start()
    assert model._num_rows == 1
    assert lm_score(model, [1, 2, 0, 1, 1]) == first


def test_ngram_end_may_be_a_token_too(by_hand):
    plain, with_end = NGramModel(by_hand, ["a", "b"]), NGramModel(by_hand, ["a", "</s>", "b"])
    assert lm_score(with_end, [0, 2]) == lm_score(plain, [0, 1])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("no arpa\n", "no section"),
        (ARPA.replace("-0.5\ta\t-0.25", "-0.5\tq\t-0.25").replace("-0.75\tb", "-1\tr"), "none of"),
        (ARPA.replace("-0.1\ta b\t-0.6", "-0.1\ta b c d e\t-0.6"), "fields"),
        (ARPA.replace("-0.2\t<s> a\t-0.3\n", ""), "contexts"),
        (ARPA.replace("-0.4\tzz a", "-0.4\ta b"), "twice"),
    ],
)
def test_arpa_fault_is_told(tmp_path, text, told):
    path = tmp_path / "bad.arpa"
    path.write_text(text)
    with pytest.raises(ValueError, match=told):
        NGramModel(path, ["a", "b"])


def test_training_gives_probabilities_that_sum_to_one(small_model):
    states = [small_model.start()]
    for token in (1, 1, 2, 0, 3, 1):
        states.append(int(small_model.advance(one(states[-1]), one(token))[0]))
    rows = np.array(states)
    total = (10 ** small_model.scores(rows).astype(float)).sum(1)
    total += 10 ** small_model.finish(rows).astype(float)
    # the unknown word has the rest
    assert np.all(total < 1)
    assert np.all(total > 0.9)


def test_training_by_hand(tmp_path):
    path = train_ngram(["a b", "a"], tmp_path / "hand.arpa", order=2)
    grams = grams_of(path)
    # 5 tokens seen, 3 kinds, 4 words with <unk>: (c + 3 / 4) / (5 + 3)
    assert grams[("a",)][0] == pytest.approx(math.log10(2.75 / 8), abs=1e-6)
    assert grams[("<unk>",)][0] == pytest.approx(math.log10(0.75 / 8), abs=1e-6)
    # after a: b once, the end once
    assert grams[("a", "b")][0] == pytest.approx(math.log10((1 + 2 * 1.75 / 8) / 4), abs=1e-6)
    assert grams[("a",)][1] == pytest.approx(math.log10(2 / 4), abs=1e-6)


def test_training_without_text_is_refused(tmp_path):
    with pytest.raises(ValueError, match="some text"):
        train_ngram(["", " "], tmp_path / "x.arpa", order=2)


def test_kenlm_scores_as_the_automaton(small_arpa, small_tokens, small_model):
    pytest.importorskip("flashlight.lib.text.decoder.kenlm")
    kenlm = KenLMModel(small_arpa, small_tokens.names, max_answers=100)
    for words in product(range(4), repeat=4):
        expected = lm_score(small_model, list(words))
        assert lm_score(kenlm, list(words)) == pytest.approx(expected, abs=1e-4)
    states = np.array([kenlm.start()] * 2)
    pairs = kenlm.score_pairs(states, np.array([1, 3]))
    np.testing.assert_allclose(pairs, kenlm.scores(states)[[0, 1], [1, 3]])


def test_kenlm_tells_what_it_can_not_read(tmp_path):
    pytest.importorskip("flashlight.lib.text.decoder.kenlm")
    path = train_ngram(["a b a b a b a b"], tmp_path / "long.arpa", order=8)
    with pytest.raises(ValueError, match="MAX_ORDER"):
        KenLMModel(path, ["a", "b"])
    assert NGramModel(path, ["a", "b"]).ngrams.orders.max() == 8


def test_kenlm_absent_file_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent"):
        KenLMModel(tmp_path / "no.bin", ["a"])
