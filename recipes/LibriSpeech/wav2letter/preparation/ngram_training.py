"""Train a small n-gram model, for text of up to some million tokens, and write it as ARPA.

Interpolated Witten-Bell estimates (I. Witten and T. Bell, "The zero-frequency problem", 1991; as a
back-off model: S. Chen and J. Goodman, 1998): with c(h) tokens seen after a history h, t(h)
different ones among them and h' the history without its first token,

    p(w | h) = (c(h w) + t(h) p(w | h')) / (c(h) + t(h)),   back-off(h) = t(h) / (c(h) + t(h)),

down to equal probabilities. For more text use KenLM's `lmplz`, which the recipes' READMEs show.
"""

from __future__ import annotations

import math
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from data_prepare.command_line import run_command
from data_prepare.files import atomic_path
from recipes.LibriSpeech.wav2letter.decoding.arpa import END, START, UNKNOWN
from recipes.LibriSpeech.wav2letter.preparation.texts import read_texts

Gram = tuple[str, ...]
Counts = dict[Gram, Counter[str]]
_NEVER_LOG10 = -99.0


def train_ngram(
    lines: Iterable[str], path: str | Path, *, order: int, tokens: Sequence[str] = ()
) -> Path:
    """Train and write a model.

    Arguments
    ---------
    lines : Iterable[str]
        Sentences, tokens parted by blanks.
    path : str | Path
        ARPA file; replaced if present.
    order : int
        Longest n-grams.
    tokens : Sequence[str]
        Tokens that get a unigram even if the text has none of them.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ValueError
        If the order is below 1, or there is no text.
    """
    counts = count_ngrams(lines, order)
    if order < 1 or not counts.get(()):
        raise ValueError(
            f"n-gram: order is {order}, with {sum(counts.get((), Counter()).values())} tokens of "
            "text; expected an order >= 1 and some text."
        )
    words = sorted({*counts[()], *tokens, UNKNOWN})
    model = estimate(counts, words)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(_arpa_lines(model, counts, order))
    return path


def count_ngrams(lines: Iterable[str], order: int) -> Counts:
    """Return for every history of less than `order` tokens how often each token follows it."""
    counts: Counts = defaultdict(Counter)
    for line in lines:
        sentence = [START, *line.split(), END]
        if len(sentence) == 2:
            continue
        for place in range(1, len(sentence)):
            for first in range(max(0, place - order + 1), place + 1):
                counts[tuple(sentence[first:place])][sentence[place]] += 1
    return counts


def estimate(counts: Counts, words: Sequence[str]) -> dict[Gram, float]:
    """Return the probability of every n-gram that was seen, and of every word."""
    model: dict[Gram, float] = {}
    for history in sorted(counts, key=len):
        followers = counts[history]
        kinds, total = len(followers), followers.total()
        for word in followers if history else words:
            lower = model[(*history[1:], word)] if history else 1 / len(words)
            model[*history, word] = (followers[word] + kinds * lower) / (total + kinds)
    return model


def _arpa_lines(model: dict[Gram, float], counts: Counts, order: int) -> Iterator[str]:
    sections: list[list[Gram]] = [[] for _ in range(order)]
    for gram in sorted(model):
        sections[len(gram) - 1].append(gram)
    sections[0].append((START,))
    yield "\\data\\\n"
    for number, section in enumerate(sections, 1):
        yield f"ngram {number}={len(section)}\n"
    for number, section in enumerate(sections, 1):
        yield f"\n\\{number}-grams:\n"
        for gram in section:
            log10 = math.log10(model[gram]) if gram in model else _NEVER_LOG10
            yield f"{log10:.7g}\t{' '.join(gram)}{_backoff(counts, gram, order)}\n"
    yield "\n\\end\\\n"


def _backoff(counts: Counts, gram: Gram, order: int) -> str:
    if len(gram) == order or gram not in counts:
        return ""
    kinds, total = len(counts[gram]), counts[gram].total()
    return f"\t{math.log10(kinds / (total + kinds)):.7g}"


def train_small_ngram(
    text: str | Path, arpa: str | Path, *, order: int = 5, tokens: str | None = None
) -> Path:
    """Train a small n-gram model on a text file.

    Arguments
    ---------
    text : str | Path
        One sentence a line, tokens parted by blanks; plain or gzipped.
    arpa : str | Path
        Where the model goes.
    order : int
        Longest n-grams.
    tokens : str | None
        Token file of the acoustic model: each gets a unigram.

    Returns
    -------
    Path
        The model.
    """
    names = Path(tokens).read_text(encoding="utf-8").splitlines() if tokens else ()
    return train_ngram(read_texts([text]), arpa, order=order, tokens=names)


if __name__ == "__main__":
    from recipes.LibriSpeech.wav2letter.preparation import ngram_training

    sys.exit(run_command(ngram_training.train_small_ngram, sys.argv[1:]))
