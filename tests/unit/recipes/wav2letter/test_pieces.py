"""Word pieces: token file, segmentations, sampling."""

import pickle
from types import SimpleNamespace

import pytest
import torch

from recipes.LibriSpeech.wav2letter import pieces
from recipes.LibriSpeech.wav2letter.pieces import WordPieces, train_pieces

TEXTS = [
    "THE CAT SAT ON THE MAT", "A RATHER GOOD MATTER OF HATS", "DON'T SIT AT THAT TABLE",
    "NOTHING BETTER THAN A GOOD THING", "THE OTHER CAT ATE THE TABLE", "SITTING ON THAT MAT",
]  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Pieces of a few texts."""
    index = SimpleNamespace(texts=lambda: [{"text": text} for text in TEXTS])
    monkeypatch.setattr(pieces, "ShardIndex", SimpleNamespace(load_texts=lambda place: index))
    return train_pieces(["split"], tmp_path / "pieces", vocab_size=32)


def test_tokens_are_the_vocabulary_with_the_end_last(folder):
    tokens = WordPieces(folder, num_tokens=30).tokens
    assert len(tokens) == 30  # of 32 three are special, and the end token is one more
    assert tokens[-1] == "</s>"
    assert not {"<unk>", "<s>"} & set(tokens)
    assert any(token.startswith("_") for token in tokens)
    assert (folder / "tokens.txt").read_text().split("\n")[:-1] == tokens


def test_texts_come_back(folder):
    for tokenizer in (WordPieces(folder), pickle.loads(pickle.dumps(WordPieces(folder)))):
        assert tokenizer.decode([tokenizer.encode(text) for text in TEXTS]) == TEXTS
    lower = WordPieces(folder, case="lower")
    assert lower.decode([lower.encode("The Mat"), []]) == ["the mat", ""]


def test_best_segmentations_spell_the_word(folder):
    tokenizer = WordPieces(folder, num_best=5)
    found = tokenizer.segmentations("matter")
    assert 1 < len(found) <= 5
    assert len({tuple(row) for row in found}) == len(found)
    assert set(tokenizer.decode(found)) == {"MATTER"}
    assert tokenizer.encode("matter") == found[0]


def test_sampling_draws_other_segmentations_of_the_share(folder):
    torch.manual_seed(0)
    tokenizer = WordPieces(folder, sample_share=0.5)
    best = tokenizer.encode("matter")
    drawn = [tokenizer.encode("matter", is_training=True) for _ in range(200)]
    num_best = len(tokenizer.segmentations("matter"))
    share = sum(row != best for row in drawn) / 200
    assert share == pytest.approx(0.5 * (1 - 1 / num_best), abs=0.1)
    assert tokenizer.encode("matter") == best
    never = WordPieces(folder, sample_share=0.0)
    assert never.encode("matter", is_training=True) == best


def test_unknown_characters_are_counted(folder):
    tokenizer = WordPieces(folder)
    assert tokenizer.decode([tokenizer.encode("the Zoo")])[0].startswith("THE")
    assert tokenizer.num_unknown > 0


def test_pieces_are_found_again_and_others_are_refused(folder, monkeypatch):
    before = (folder / "pieces.model").stat().st_mtime_ns
    assert train_pieces(["split"], folder, vocab_size=32) == folder
    assert (folder / "pieces.model").stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="vocab_size 32; expected the same texts and 33"):
        train_pieces(["split"], folder, vocab_size=33)
    with pytest.raises(ValueError, match="vocab_size 4000 is impossible"):
        train_pieces(["split"], folder.with_name("large"), vocab_size=4000)


def test_files_that_do_not_fit_are_named(folder):
    with pytest.raises(ValueError, match="has 30 tokens; expected 50"):
        WordPieces(folder, num_tokens=50).encode("a")
    with pytest.raises(ValueError, match="sample_share 2"):
        WordPieces(folder, sample_share=2)
    text = (folder / "tokens.txt").read_text()
    (folder / "tokens.txt").write_text(text.replace("</s>", "</t>"))
    with pytest.raises(ValueError, match="has other pieces than"):
        WordPieces(folder).encode("a")
