"""Tokens, repetitions, lexicon files."""

import random

import pytest

from recipes.LibriSpeech.wav2letter.decoding.lexicon_file import read_lexicon, write_lexicon
from recipes.LibriSpeech.wav2letter.tokens import TokenSet, letter_tokens

TOKENS = letter_tokens()


def spelled(word: str) -> str:
    return " ".join(TOKENS.names[token] for token in TOKENS.spell(word) or ())


def test_spelling_replaces_repetitions():
    assert len(TOKENS) == 30
    assert spelled("hello") == "h e l 1 o"
    assert spelled("aaaa") == "a 2 a"
    assert spelled("aaaaa") == "a 2 a 1"
    assert TOKENS.spell("naïve") is None
    assert TOKENS.spell("b2b") is None


def test_spelling_and_words_are_inverse():
    draw = random.Random(0)
    for _ in range(1000):
        words = ["".join(draw.choices("abc'", k=draw.randint(1, 9))) for _ in range(3)]
        tokens = [t for word in words for t in (*(TOKENS.spell(word) or ()), 0)]
        assert all(a != b for a, b in zip(tokens, tokens[1:], strict=False))
        frames = [token for token in tokens for _ in range(draw.randint(1, 3))]
        assert TOKENS.words_of_path(frames) == words


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("1 a b", ["ab"]),  # a repetition of nothing
        ("a 1 2 b", ["aab"]),  # of a repetition
        ("| | a | | b |", ["a", "b"]),
        ("a | 1 b", ["a", "b"]),
        ("", []),
    ],
)
def test_words_of_odd_tokens(names, words):
    assert TOKENS.words(TOKENS.index(name) for name in names.split()) == words


def test_load_reads_one_token_a_line(tmp_path):
    path = tmp_path / "tokens.txt"
    path.write_text("_a\nb\n</s>\n")
    tokens = TokenSet.load(path, separator="_", replabel=0)
    assert tokens.words([0, 1, 0]) == ["ab", "a"]
    with pytest.raises(ValueError, match="'q' is none"):
        tokens.index("q")
    with pytest.raises(FileNotFoundError, match=r"tokens\.txt2 is missing"):
        TokenSet.load(tmp_path / "tokens.txt2")
    path.write_text("a\n\nb\n")
    with pytest.raises(ValueError, match=r"tokens\.txt: tokens: a name is empty"):
        TokenSet.load(path, replabel=0)


def test_wrong_tokens_are_told_at_once():
    with pytest.raises(
        ValueError, match="'a' comes 2 times; a name is empty; repetition label '2' lacks"
    ):
        TokenSet(("|", "a", "a", "1", ""))


def test_lexicon_comes_back(tmp_path):
    path = tmp_path / "lexicon.txt"
    write_lexicon(path, {"b": [["b", "|"]], "a": [["a", "|"], ["a", "1", "|"]]})
    assert path.read_text() == "a\ta |\na\ta 1 |\nb\tb |\n"
    assert read_lexicon(path) == {"a": [["a", "|"], ["a", "1", "|"]], "b": [["b", "|"]]}


@pytest.mark.parametrize(("text", "told"), [("a\ta |\nb\n", "line 2"), ("\n", "no line")])
def test_lexicon_fault_is_told(tmp_path, text, told):
    path = tmp_path / "lexicon.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=told):
        read_lexicon(path)
