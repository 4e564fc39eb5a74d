"""The benchmark's tokens: unigram pieces, unknown 0, no start, the blank behind them."""

import random

import pytest

from recipes.common import tokens
from recipes.common.tokenizer_training import train_model
from recipes.LibriSpeech.ASR.transducer.tokenizer import TokenEncoder, Tokenizer, benchmark_options
from tests.unit.data_prepare.corpora import write_split

TEXTS = [
    "THE QUICK BROWN FOX JUMPS OVER THE LAZY DOG",
    "IT'S A LONG WAY TO THE TOP",
    "PACK MY BOX WITH FIVE DOZEN LIQUOR JUGS",
    "THE DOG AND THE FOX WENT A LONG WAY",
]
SIZE = 40


def train_tokenizer(folders, out_folder, *, vocab_size):
    """Train as train.yaml says."""
    options = {"model_type": "unigram", "text": "lower", "max_texts": None, "specials": "unknown"}
    return tokens.train_tokenizer(folders, out_folder, vocab_size=vocab_size, **options)


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus") / "train"
    return write_split(folder, [[0.1, 0.1], [0.1, 0.1]], texts=TEXTS)


@pytest.fixture(scope="module")
def tokenizer(split, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer([split], folder, vocab_size=SIZE)
    return Tokenizer(folder, vocab_size=SIZE)


def test_tokenizer_has_the_benchmarks_form(tokenizer):
    processor = tokenizer._processor()
    assert len(tokenizer) == SIZE
    assert tokenizer.blank_index == SIZE
    ids = (processor.unk_id(), processor.bos_id(), processor.eos_id(), processor.pad_id())
    assert ids == (0, -1, -1, -1)


def test_tokenizer_knows_all_of_its_training_text_in_lower_case(tokenizer):
    for text in TEXTS:
        ids = tokenizer.encode(text)
        assert 0 not in ids
        assert tokenizer.decode([ids]) == [text.lower()]


def test_tokenizer_is_found_again_and_the_same(split, tmp_path):
    first = train_tokenizer([split], tmp_path / "a", vocab_size=SIZE) / "tokenizer.model"
    stamp = first.stat().st_mtime_ns
    assert train_tokenizer([split], tmp_path / "a", vocab_size=SIZE) == tmp_path / "a"
    assert first.stat().st_mtime_ns == stamp
    other = train_tokenizer([split], tmp_path / "b", vocab_size=SIZE) / "tokenizer.model"
    assert first.read_bytes() == other.read_bytes()


def test_tokenizer_of_another_size_is_refused(split, tokenizer):
    with pytest.raises(ValueError, match="vocab_size is 35, was 40"):
        train_tokenizer([split], tokenizer.folder, vocab_size=SIZE - 5)
    with pytest.raises(ValueError, match="has 40 tokens; expected 39"):
        Tokenizer(tokenizer.folder, vocab_size=SIZE - 1).encode("a")


def test_tokenizer_of_impossible_size_is_refused(split, tmp_path):
    with pytest.raises(ValueError, match="vocab_size 5000 is impossible for 4 texts"):
        train_tokenizer([split], tmp_path, vocab_size=5000)


def test_tokenizer_with_other_special_tokens_is_refused(split, tokenizer, tmp_path):
    with pytest.raises(ValueError, match="has special tokens 'unknown'; expected 'four'"):
        tokens.Tokenizer(tokenizer.folder).encode("a")
    other = tokens.train_tokenizer([split], tmp_path, vocab_size=SIZE)
    with pytest.raises(ValueError, match="has special tokens 'four'; expected 'unknown'"):
        Tokenizer(other, vocab_size=SIZE).encode("a")


def test_model_file_of_another_form_is_refused(tokenizer):
    path = tokenizer.folder / "tokenizer.model"
    assert Tokenizer(path, vocab_size=SIZE).encode("THE DOG") == tokenizer.encode("the dog")
    with pytest.raises(ValueError, match="has 40 pieces, unknown 0, start -1; expected 39"):
        Tokenizer(path, vocab_size=SIZE - 1).encode("a")


def test_encoder_adds_pieces(tokenizer):
    example = TokenEncoder(tokenizer)({"id": "a", "text": "THE DOG"})
    assert example["tokens"].tolist() == tokenizer.encode("the dog")
    assert example["text"] == "THE DOG"


def test_tokenizer_of_the_benchmarks_size(tmp_path):
    draw = random.Random(0)
    syllables = [a + b + c for a in "bdfgklmnprst" for b in "aeiou" for c in ("", "n", "r", "s")]
    words = ["".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(4000)]
    texts = [" ".join(draw.choices(words, k=12)) for _ in range(1500)]
    path = tmp_path / "benchmark.model"
    path.write_bytes(train_model(texts, benchmark_options(1023))[0])
    tokenizer = Tokenizer(path, vocab_size=1023)
    assert len(tokenizer) == tokenizer.blank_index == 1023
    assert not any(0 in tokenizer.encode(text) for text in texts)
