"""Comparison with flashlight-text: the search with a lexicon, and ours against its own."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from recipes.LibriSpeech.wav2letter.decoding.hypothesis import Hypothesis
from recipes.LibriSpeech.wav2letter.decoding.language_model import LanguageModel
from recipes.LibriSpeech.wav2letter.decoding.lexicon import LexiconSearch
from recipes.LibriSpeech.wav2letter.decoding.lexicon_free import LexiconFreeSearch
from recipes.LibriSpeech.wav2letter.decoding.ngram import NGramModel
from recipes.LibriSpeech.wav2letter.decoding.options import BeamOptions
from recipes.LibriSpeech.wav2letter.decoding.searches import lexicon_search
from recipes.LibriSpeech.wav2letter.preparation.ngram_training import train_ngram
from tests.unit.recipes.wav2letter_decoding.exhaustive import best_path, lm_score
from tests.unit.recipes.wav2letter_decoding.test_lexicon_free import make, neural

pytest.importorskip("flashlight.lib.text.decoder")

WORDS = {"ab": "a b |", "ba": "b a |", "a": "a |", "bb": "b 1 |"}
OPTIONS = BeamOptions(
    beam_size=5000, beam_threshold=1e4, lm_weight=1.3, word_score=0.7, sil_weight=-0.3
)


@pytest.fixture(scope="module")
def lexicon(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lexicon") / "lexicon.txt"
    path.write_text("".join(f"{word}\t{spelling}\n" for word, spelling in WORDS.items()))
    return path


@pytest.fixture(scope="module")
def word_arpa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lines = ["ab ba", "a a ab", "bb a", "ba bb a", "ab", "a ba ba"]
    return train_ngram(lines, tmp_path_factory.mktemp("words") / "words.arpa", order=3)


def best_with_lexicon(
    x: Tensor, g: Tensor, tokens: Any, words: LanguageModel
) -> tuple[float, list[str]]:
    """The best of all paths that spell words of the lexicon; each ends in the separator."""
    names, best = list(WORDS), (-np.inf, [])
    spelled = {tuple(WORDS[name].split()): place for place, name in enumerate(names)}
    for path in product(range(4), repeat=len(x)):
        collapsed = [t for place, t in enumerate(path) if place == 0 or path[place - 1] != t]
        letters = [tokens.names[t] for t in collapsed]
        letters = letters[1:] if letters[0] == "|" else letters
        if letters and letters[-1] != "|":
            continue
        parts = [tuple(part.split()) for part in " ".join(letters).split("|")[:-1]]
        found = [spelled.get((*part, "|"), -1) for part in parts]
        if -1 in found:
            continue
        total = float(sum(x[t, token] for t, token in enumerate(path)))
        total += float(sum(g[path[t], path[t - 1]] for t in range(1, len(path))))
        total += OPTIONS.sil_weight * path.count(0) + OPTIONS.word_score * len(found)
        total += OPTIONS.lm_weight * lm_score(words, found)
        best = max(best, (total, [names[number] for number in found]))
    return best


@pytest.mark.parametrize("seed", range(4))
def test_lexicon_search_finds_the_best_of_all_paths(small_tokens, lexicon, word_arpa, seed):
    x, g = make(seed, 7)
    search = LexiconSearch(small_tokens, lexicon, word_arpa, options=OPTIONS)
    found = search.search(x, g)[0]
    words = NGramModel(word_arpa, list(WORDS))
    score, expected = best_with_lexicon(x, g, small_tokens, words)
    assert found.words == expected
    assert found.score == pytest.approx(score, abs=1e-3)
    assert small_tokens.words_of_path(found.tokens) == expected
    assert search(x[None], torch.tensor([7]), g) == [found.tokens]


def test_lexicon_search_takes_our_language_model(small_tokens, lexicon, word_arpa):
    x, g = make(9, 12)
    by_file = LexiconSearch(small_tokens, lexicon, word_arpa, options=OPTIONS)
    ours = NGramModel(word_arpa, by_file.words)
    by_model = LexiconSearch(small_tokens, lexicon, ours, options=OPTIONS)
    expected, found = by_file.search(x, g)[0], by_model.search(x, g)[0]
    assert found.words == expected.words
    assert found.score == pytest.approx(expected.score, abs=1e-3)


def test_lexicon_search_with_a_model_of_letters(small_tokens, lexicon, small_arpa, small_model):
    x, g = make(5, 12)
    options = {"level": "token", "options": OPTIONS}
    expected = LexiconSearch(small_tokens, lexicon, small_arpa, **options).search(x, g)[0]
    found = LexiconSearch(small_tokens, lexicon, small_model, **options).search(x, g)[0]
    assert found.words == expected.words
    assert found.score == pytest.approx(expected.score, abs=1e-3)
    plain = OPTIONS.word_score * len(found.words)
    free = LexiconFreeSearch(small_tokens, small_model, options=OPTIONS).search(x, g)[0]
    assert free.score >= found.score - plain - 1e-3  # the lexicon only takes paths away


@pytest.mark.parametrize("seed", range(3))
def test_lexicon_search_of_a_run_file_takes_a_network(small_tokens, lexicon, tmp_path, seed):
    x, g = make(seed, 7)
    small_tokens.save(tmp_path / "tokens.txt")
    given = {"lexicon": lexicon, "options": OPTIONS, "replabel": 1}
    asked = []

    def network(names):
        asked.append(names)
        return neural(seed, num_tokens=5)  # four words, and the unknown one

    search = lexicon_search(tmp_path / "tokens.txt", lm=network, **given)
    found = search.search(x, g)[0]
    score, expected = best_with_lexicon(x, g, small_tokens, network(list(WORDS)))
    assert found.words == expected
    assert found.score == pytest.approx(score, abs=1e-3)
    letters = {**given, "level": "token"}
    by_letters = lexicon_search(tmp_path / "tokens.txt", lm=lambda _: neural(seed), **letters)
    by_model = LexiconSearch(small_tokens, lexicon, neural(seed), level="token", options=OPTIONS)
    assert by_letters.search(x, g)[0] == by_model.search(x, g)[0]
    assert asked[0] == [*WORDS, "<unk>"]


def test_lexicon_of_other_tokens_is_refused(small_tokens, tmp_path):
    path = tmp_path / "lexicon.txt"
    path.write_text("ab\ta q |\n")
    with pytest.raises(ValueError, match=r"\['q'\]"):
        LexiconSearch(small_tokens, path).search(torch.zeros(2, 4), torch.zeros(4, 4))


def with_transitions(
    tokens: Any, arpa: Path, x: Tensor, g: Tensor, options: BeamOptions
) -> Hypothesis:
    """flashlight-text's own search, made to honour the transitions."""
    from benchmarks.wav2letter_peers import FlashlightSearch

    return FlashlightSearch(tokens, arpa, options, wraps=True).search(x, g)[0]


@pytest.mark.parametrize("seed", range(4))
def test_lexicon_free_search_equals_flashlight(small_tokens, small_arpa, small_model, seed):
    x, g = make(seed, 6)
    score, path = best_path(x, g, model=small_model, options=OPTIONS, sil=0)
    expected = with_transitions(small_tokens, small_arpa, x, g, OPTIONS)
    found = LexiconFreeSearch(small_tokens, small_model, options=OPTIONS).search(x, g)[0]
    assert expected.tokens == found.tokens == list(path)
    assert expected.score == pytest.approx(score, abs=1e-3)
    assert found.score == pytest.approx(score, abs=1e-5)


def test_lexicon_free_search_equals_flashlight_on_longer_utterances(
    small_tokens, small_arpa, small_model
):
    x, g = make(11, 30)
    options = BeamOptions(beam_size=400, beam_threshold=60, lm_weight=1.3, word_score=0.7)
    expected = with_transitions(small_tokens, small_arpa, x, g, options)
    found = LexiconFreeSearch(small_tokens, small_model, options=options).search(x, g)[0]
    assert expected.tokens == found.tokens
    assert found.score == pytest.approx(expected.score, abs=1e-3)
