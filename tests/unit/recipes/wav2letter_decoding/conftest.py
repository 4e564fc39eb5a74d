"""A small model of letters."""

import random
from pathlib import Path

import pytest

from recipes.LibriSpeech.wav2letter.decoding.ngram import NGramModel
from recipes.LibriSpeech.wav2letter.preparation.ngram_training import train_ngram
from recipes.LibriSpeech.wav2letter.tokens import TokenSet


@pytest.fixture(scope="session")
def small_tokens() -> TokenSet:
    """Separator, two letters, a repetition."""
    return TokenSet(("|", "a", "b", "1"), replabel=1)


@pytest.fixture(scope="session")
def small_arpa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 4-gram of those tokens; "1" is seldom."""
    draw = random.Random(3)
    weights = (4, 4, 3, 1)
    lines = [
        " ".join(draw.choices("|ab1", weights)[0] for _ in range(draw.randint(1, 9)))
        for _ in range(60)
    ]
    return train_ngram(lines, tmp_path_factory.mktemp("arpa") / "small.arpa", order=4)


@pytest.fixture
def small_model(small_arpa: Path, small_tokens: TokenSet) -> NGramModel:
    return NGramModel(small_arpa, small_tokens.names)
