"""Lexicons: words spelled in letters with repetition labels, or in their best word pieces."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from data_prepare.files import atomic_path
from recipes.LibriSpeech.wav2letter.decoding.lexicon_file import Lexicon
from recipes.LibriSpeech.wav2letter.pieces import named
from recipes.LibriSpeech.wav2letter.tokens import TokenSet, pack

_PLAIN_WORD = re.compile(r"[a-z']+")
_KNOWN_WORDS = 1 << 18  # spelled once, as the text has 800 million words, most of them again


def letter_lexicon(words: Iterable[str], tokens: TokenSet) -> tuple[Lexicon, list[str]]:
    """Spell words in letters.

    Arguments
    ---------
    words : Iterable[str]
        In lower case.
    tokens : TokenSet
        Of the acoustic model.

    Returns
    -------
    tuple[Lexicon, list[str]]
        One spelling a word, which ends with the separator; and the words that have letters which
        are no tokens, in order.
    """
    lexicon: Lexicon = {}
    odd = []
    for word in sorted(set(words)):
        spelled = tokens.spell(word)
        if spelled is None:
            odd.append(word)
        else:
            lexicon[word] = [[*(tokens.names[token] for token in spelled), tokens.separator]]
    return lexicon, odd


def piece_lexicon(words: Iterable[str], processor: Any, *, num_best: int = 10) -> Lexicon:
    """Segment words in their best ways.

    Arguments
    ---------
    words : Iterable[str]
        In lower case.
    processor : Any
        A loaded SentencePieceProcessor of a unigram model.
    num_best : int
        Segmentations of a word, at most.

    Returns
    -------
    Lexicon
        Segmentations, best first, with `_` in place of SentencePiece's mark. Those with unknown
        pieces are left out, and words that have no others.
    """
    lexicon: Lexicon = {}
    for word in sorted(set(words)):
        found = processor.nbest_encode(word, nbest_size=num_best, out_type=int)
        known = [row for row in found if processor.unk_id() not in row]
        rows = [[named(processor.id_to_piece(piece)) for piece in row] for row in known]
        if rows:
            lexicon[word] = rows
    return lexicon


def lower_arpa(source: Path, target: Path) -> list[str]:
    """Write an ARPA file in lower case; return its plain words, those of a to z and apostrophes.

    The official models of LibriSpeech are in capitals. Lines are streamed.

    Arguments
    ---------
    source : Path
        Plain or gzipped.
    target : Path
        Plain.

    Returns
    -------
    list[str]
        Words of the section of unigrams, in the file's order.

    Raises
    ------
    ValueError
        If two words become one in lower case, or there are no unigrams.
    """
    words: list[str] = []
    target.parent.mkdir(parents=True, exist_ok=True)
    with (
        _opened(source) as lines,
        atomic_path(target) as temporary,
        temporary.open("w", encoding="utf-8") as file,
    ):
        is_unigram = False
        for line in lines:
            lower = line.lower()
            file.write(lower)
            if line.startswith("\\"):
                is_unigram = line.startswith("\\1-grams:")
            elif is_unigram and len(fields := lower.split()) >= 2:
                words.append(fields[1])
        twice = len(words) - len(set(words))
        if twice or not words:
            raise ValueError(
                f"arpa {source}: has {len(words)} unigrams, {twice} of them twice in lower case; "
                "expected words in one case."
            )
    return [word for word in words if _PLAIN_WORD.fullmatch(word)]


def _opened(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(
            f"arpa: {path} is absent; expected an ARPA file, plain or .gz; give its path, or have "
            "it downloaded (--download_folder)."
        )
    opened = gzip.open if path.suffix == ".gz" else open
    return opened(path, "rt", encoding="utf-8")


def split_by_vocabulary(
    texts: Iterable[tuple[str, str]], lexicon: Mapping[str, Any]
) -> tuple[list[str], list[str]]:
    """Return the ids of utterances whose words are all in a lexicon, and those of the others."""
    inside: list[str] = []
    outside: list[str] = []
    for name, text in texts:
        (inside if all(word in lexicon for word in text.split()) else outside).append(name)
    return inside, outside


def letter_line(text: str, tokens: TokenSet) -> str:
    """Return a text as the language model of letters sees it: `h e l 1 o | w o r l d |`.

    Letters that are no tokens are dropped, and words that have no others.
    """
    return " ".join(filter(None, (_spelled(word, tokens) for word in text.split())))


@lru_cache(maxsize=_KNOWN_WORDS)
def _spelled(word: str, tokens: TokenSet) -> str:
    kept = "".join(letter for letter in word if letter in tokens.letters)
    return " ".join((*pack(kept, tokens.replabel), tokens.separator)) if kept else ""


def piece_lines(texts: Iterable[str], processor: Any) -> Iterator[str]:
    """Yield texts as the language model of word pieces sees them: pieces parted by blanks."""
    for text in texts:
        yield " ".join(map(named, processor.encode(text, out_type=str)))
