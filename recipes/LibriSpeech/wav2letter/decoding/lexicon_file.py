"""Lexicons: a word and one spelling in tokens on each line, such as `hello h e l 1 o |`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from data_prepare.files import atomic_path

Lexicon = dict[str, list[list[str]]]
"""Word to its spellings, best first."""


def read_lexicon(path: str | Path) -> Lexicon:
    """Read a lexicon; a word may have several lines, the first being the best.

    Arguments
    ---------
    path : str | Path
        Lines of a word, a tab or blank, and its tokens parted by blanks.

    Returns
    -------
    Lexicon
        Word to spellings.

    Raises
    ------
    ValueError
        If lines lack a spelling, or there is no line; all faults at once.
    """
    path = Path(path)
    lexicon: Lexicon = {}
    faults = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        word, *spelling = line.split() or [""]
        if not word:
            continue
        if not spelling:
            faults.append(f"line {number} has the word {word!r} alone")
            continue
        known = lexicon.setdefault(word, [])
        if spelling not in known:
            known.append(spelling)
    if faults or not lexicon:
        listed = "; ".join(faults[:5]) or "no line"
        raise ValueError(
            f"lexicon {path}: {listed} ({len(faults)} faults); expected a word and its tokens on "
            "each line; make it again."
        )
    return lexicon


def write_lexicon(path: Path, lexicon: Mapping[str, Sequence[Sequence[str]]]) -> None:
    """Write a lexicon, words in order of the alphabet.

    Arguments
    ---------
    path : Path
        The file; replaced if present.
    lexicon : Mapping[str, Sequence[Sequence[str]]]
        Word to spellings, best first.
    """
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(_lines(lexicon, sorted(lexicon)))


def _lines(lexicon: Mapping[str, Sequence[Sequence[str]]], words: Iterable[str]) -> Iterator[str]:
    for word in words:
        for spelling in lexicon[word]:
            yield f"{word}\t{' '.join(spelling)}\n"
