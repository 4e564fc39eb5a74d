"""Letters: targets, labels for repetitions, and back."""

import pickle
import random

import pytest

from recipes.LibriSpeech.wav2letter.letters import (
    LetterTokenizer,
    TargetEncoder,
    write_letters,
)
from recipes.LibriSpeech.wav2letter.tokens import TokenSet, letter_tokens, pack, unpack


@pytest.fixture
def tokenizer(tmp_path) -> LetterTokenizer:
    write_letters([], tmp_path)
    return LetterTokenizer(tmp_path, num_tokens=30)


def spelled(tokenizer: LetterTokenizer, text: str) -> str:
    return " ".join(tokenizer.tokens[i] for i in tokenizer.encode(text))


def test_token_file_has_thirty_tokens_in_the_original_order(tmp_path):
    write_letters([], tmp_path)
    tokens = list(TokenSet.load(tmp_path / "tokens.txt").names)
    assert tokens == list(letter_tokens(2).names)
    assert len(tokens) == 30
    assert [tokens.index(t) for t in "|'az12"] == [0, 1, 2, 27, 28, 29]


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("HELLO WORLD", "| h e l 1 o | w o r l d |"),
        ("don\u2019t", "| d o n ' t |"),
        ("aaaa", "| a 2 a |"),
        ("aaa b", "| a 2 | b |"),
        ("", "| 1"),
    ],
)
def test_targets_are_packed_and_surrounded(tokenizer, text, target):
    assert spelled(tokenizer, text) == target


def test_without_labels_repetitions_vanish():
    assert pack("hello", 0) == ["h", "e", "l", "o"]
    assert pack("aaaaa", 1) == ["a", "1", "a", "1", "a"]


def test_unpack_leaves_out_labels_without_a_letter():
    assert "".join(unpack(["1", "a", "2", "1", "b", "1"], 2)) == "aaabb"


def test_a_thousand_random_texts_come_back(tokenizer):
    draw = random.Random(0)
    texts = [
        " ".join("".join(draw.choices("abel'", k=draw.randint(1, 8))) for _ in range(3)).upper()
        for _ in range(1000)
    ]
    for text in texts:
        target = tokenizer.encode(text)
        assert all(a != b for a, b in zip(target, target[1:], strict=False))
        path = [token for token in target for _ in range(draw.randint(1, 3))]
        assert tokenizer.decode([path]) == [text]


def test_decode_gives_the_case_of_the_corpus(tmp_path):
    write_letters([], tmp_path)
    lower = LetterTokenizer(tmp_path, case="lower")
    assert lower.decode([lower.encode("Hello you"), []]) == ["hello you", ""]


def test_unknown_characters_are_named_or_dropped(tokenizer, tmp_path):
    with pytest.raises(ValueError, match=r"has \['2', '\?'\]; expected a to z"):
        tokenizer.encode("section 2?")
    dropping = LetterTokenizer(tmp_path, unknown="drop")
    assert dropping.decode([dropping.encode("section 2?")]) == ["SECTION"]


def test_encoder_adds_the_target_and_pickles(tokenizer):
    encoder = pickle.loads(pickle.dumps(TargetEncoder(tokenizer)))
    example = encoder({"id": "a", "text": "AB"})
    assert example["tokens"].tolist() == [0, 2, 3, 0]
    assert example["id"] == "a"


def test_files_that_do_not_fit_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"tokens\.txt is missing"):
        LetterTokenizer(tmp_path).encode("a")
    write_letters([], tmp_path, replabel=1)
    with pytest.raises(ValueError, match="has 29 tokens; expected the 30 letters"):
        LetterTokenizer(tmp_path).encode("a")
    with pytest.raises(ValueError, match="holds other tokens than those for replabel = 2"):
        write_letters([], tmp_path, replabel=2)
    with pytest.raises(ValueError, match="replabel is 10; expected 0 to 9"):
        letter_tokens(10)
    (tmp_path / "tokens.txt").write_text("a\nb\na\n")
    with pytest.raises(ValueError, match=r"tokens\.txt: tokens: 'a' comes 2 times"):
        LetterTokenizer(tmp_path).encode("a")
