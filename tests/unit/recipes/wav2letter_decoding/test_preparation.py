"""Lexicons and texts from a prepared corpus; downloads; small n-grams."""

import gzip
import hashlib
import io
import json
from collections import Counter
from pathlib import Path

import pytest
import sentencepiece

from recipes.LibriSpeech.wav2letter.decoding.lexicon_file import read_lexicon
from recipes.LibriSpeech.wav2letter.preparation import download
from recipes.LibriSpeech.wav2letter.preparation.ngram_training import train_small_ngram
from recipes.LibriSpeech.wav2letter.preparation.prepare import prepare_decoding
from recipes.LibriSpeech.wav2letter.preparation.texts import read_texts, shuffled
from tests.unit.data_prepare.corpora import write_split

TEXTS = {
    "train": ["HELLO WORLD", "THE BOOK IS GOOD", "GOOD BOOKS"],
    "valid": ["A GOOD EGG"],
    "test": ["HELLO BOOK", "HELLO ZEBRA"],
}
NUM_PIECES = 23
SPLITS = {"train_splits": ("train",), "valid_splits": ("valid",), "test_splits": ("test",)}
ARPA = """\\data\\
ngram 1=6

\\1-grams:
-1\t<UNK>
-99\t<S>
-1\t</S>
-1\tHELLO
-1\tBOOK
-1\tA-B

\\end\\
"""


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    for name, texts in TEXTS.items():
        write_split(folder / name, [[0.1] * len(texts)], texts=texts)
    (folder / "summary.json").write_text(json.dumps({"splits": {name: {} for name in TEXTS}}))
    return folder


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = io.BytesIO()
    texts = [text.lower() for texts in TEXTS.values() for text in texts] * 3
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        model_type="unigram",
        vocab_size=NUM_PIECES,
        minloglevel=2,
    )
    path = tmp_path_factory.mktemp("pieces") / "pieces.model"
    path.write_bytes(model.getvalue())
    return path


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def test_letters_and_training_lexicon(shards, tmp_path):
    prepare_decoding(shards, tmp_path, **SPLITS)
    assert len(lines_of(tmp_path / "tokens.txt")) == 30
    lexicon = read_lexicon(tmp_path / "lexicon_train.txt")
    assert lexicon["hello"] == [["h", "e", "l", "1", "o", "|"]]
    assert "egg" in lexicon  # of the validation split
    assert "zebra" not in lexicon  # of the test split
    assert lines_of(tmp_path / "text" / "train.txt")[0] == "hello world"
    assert lines_of(tmp_path / "letters" / "valid.txt") == ["a | g o 1 d | e g 1 |"]


def test_word_model_is_lowered_and_divides_the_test_set(shards, tmp_path):
    source = tmp_path / "words.arpa.gz"
    source.write_bytes(gzip.compress(ARPA.encode()))
    prepare_decoding(shards, tmp_path, arpa=str(source), **SPLITS)
    assert "-1\thello" in lines_of(tmp_path / "lm" / "words.arpa")
    assert read_lexicon(tmp_path / "lexicon.txt").keys() == {"hello", "book"}
    assert lines_of(tmp_path / "oov" / "test.inv") == ["utt-0"]
    assert lines_of(tmp_path / "oov" / "test.oov") == ["utt-1"]


def test_extra_words_join_the_lexicon_of_the_word_model(shards, tmp_path):
    source, extra = tmp_path / "words.arpa", tmp_path / "extra.txt"
    source.write_text(ARPA)
    extra.write_text("Zebra\nnoirtier's hello\n")
    options = {"arpa": str(source), "extra_words": str(extra), **SPLITS}
    prepare_decoding(shards, tmp_path / "out", **options)
    lexicon = read_lexicon(tmp_path / "out" / "lexicon.txt")
    assert lexicon.keys() == {"hello", "book", "zebra", "noirtier's"}
    assert lexicon["zebra"] == [["z", "e", "b", "r", "a", "|"]]
    assert not lines_of(tmp_path / "out" / "oov" / "test.oov")
    with pytest.raises(ValueError, match="there is no model of words"):
        prepare_decoding(shards, tmp_path / "out", extra_words=str(extra), **SPLITS)


def test_text_is_cleaned_spelled_and_counted(shards, tmp_path):
    source = tmp_path / "text.txt"
    source.write_text("HELLO  WORLD\n\nGOOD 2 DAY\n" + "GOOD\n" * 9)
    prepare_decoding(shards, tmp_path, lm_text=(str(source),), **SPLITS)
    assert Counter(lines_of(tmp_path / "lm" / "words.txt")) == Counter(
        {"hello world": 1, "good 2 day": 1, "good": 9}
    )
    assert "g o 1 d | d a y |" in lines_of(tmp_path / "lm" / "letters.txt")
    assert lines_of(tmp_path / "lm" / "frequent.txt") == ["good"]


def test_pieces_lexicon_has_the_best_segmentations(shards, pieces, tmp_path):
    source = tmp_path / "text.txt"
    source.write_text("HELLO BOOKS\n")
    options = {"pieces_model": str(pieces), "lm_text": (str(source),)}
    prepare_decoding(shards, tmp_path, **options, **SPLITS)
    tokens = lines_of(tmp_path / "piece_tokens.txt")
    assert len(tokens) == NUM_PIECES - 3 + 1
    assert tokens[-1] == "</s>"
    lexicon = read_lexicon(tmp_path / "lexicon_pieces.txt")
    assert 1 < len(lexicon["books"]) <= 10
    processor = sentencepiece.SentencePieceProcessor(model_file=str(pieces))
    best = [piece.replace("\u2581", "_") for piece in processor.encode("books", out_type=str)]
    assert lexicon["books"][0] == best
    for word, rows in lexicon.items():
        for row in rows:
            assert "".join(row) == f"_{word}"
            assert set(row) <= set(tokens)
    assert lines_of(tmp_path / "lm" / "pieces.txt")[0].replace(" ", "") == "_hello_books"


def test_preparation_is_found_again_and_other_options_are_refused(shards, tmp_path):
    prepare_decoding(shards, tmp_path, **SPLITS)
    before = (tmp_path / "tokens.txt").stat().st_mtime_ns
    prepare_decoding(shards, tmp_path, **SPLITS)
    assert (tmp_path / "tokens.txt").stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="other splits"):
        prepare_decoding(shards, tmp_path, **SPLITS | {"valid_splits": ()})


def test_absent_files_are_told(shards, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.txt"):
        prepare_decoding(shards, tmp_path, lm_text=(str(tmp_path / "no.txt"),), **SPLITS)
    with pytest.raises(FileNotFoundError, match="absent"):
        list(read_texts([tmp_path / "no.txt"]))


def test_shuffle_is_a_permutation_that_the_seed_decides():
    lines = [f"line {n}" for n in range(500)]
    one = list(shuffled(lines, seed=1, bucket_bytes=500))
    assert sorted(one) == sorted(lines)
    assert one != lines
    assert one == list(shuffled(lines, seed=1, bucket_bytes=500))
    assert one != list(shuffled(lines, seed=2, bucket_bytes=500))


@pytest.fixture
def server(tmp_path: Path) -> str:
    """A folder in place of the server."""
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "file.gz").write_bytes(b"content")
    return (tmp_path / "server").as_uri()


def test_download_is_verified_and_found_again(server, tmp_path, monkeypatch):
    digest = hashlib.md5(b"content", usedforsecurity=False).hexdigest()
    monkeypatch.setitem(download.MD5, "file.gz", digest)
    path = download.fetch("file.gz", tmp_path / "here", address=server)
    assert path.read_bytes() == b"content"
    assert download.fetch("file.gz", tmp_path / "here", address="no://where") == path
    path.write_bytes(b"damage")
    with pytest.raises(ValueError, match="Delete it"):
        download.fetch("file.gz", tmp_path / "here", address=server)


def test_download_of_other_content_leaves_nothing(server, tmp_path, monkeypatch):
    monkeypatch.setitem(download.MD5, "file.gz", "0" * 32)
    with pytest.raises(ValueError, match="expected 0000"):
        download.fetch("file.gz", tmp_path / "here", address=server)
    assert not list((tmp_path / "here").iterdir())


def test_small_ngram_of_a_file(tmp_path):
    (tmp_path / "text.txt").write_text("a b\nb a\n")
    (tmp_path / "tokens.txt").write_text("a\nb\nc\n")
    path = train_small_ngram(
        tmp_path / "text.txt", tmp_path / "x.arpa", order=2, tokens=str(tmp_path / "tokens.txt")
    )
    assert "\tc\n" in path.read_text()
