"""Texts of speech translation: the form of source transcripts, and pairs whose lengths disagree."""

import re
import string
from collections import Counter
from collections.abc import Iterable
from typing import Literal

SourceForm = Literal["raw", "fbk", "fixed"]

_GROUP_WITHOUT_SPACE = re.compile(r"\([^ ]*\)")
_GROUP = re.compile(r"\([^()]*\)")
_ASCII_MARKS = str.maketrans("", "", string.punctuation)
_TYPOGRAPHIC = str.maketrans(
    {
        **dict.fromkeys("‘’ʼ“”„«»…", ""),
        **dict.fromkeys("-‐‑–—―", " "),
    }
)
_BIN_WIDTH = 0.1
_LAST_BIN = 3.0
_BAR_CHARS = 40


def source_text(text: str, form: SourceForm) -> str:
    """Return a transcript in the form that CTC is trained on.

    Arguments
    ---------
    text : str
        As the corpus writes it.
    form : SourceForm
        ``raw``: single blanks, else as written. ``fbk``: the form of FBK's published systems: what
        stands in parentheses goes if it holds no blank, ASCII punctuation goes, lower case; so
        "(Applause and cheers) Hi" keeps its words, typographic quotes stay, hyphenated words fuse.
        ``fixed``: the same with all parenthesised groups and typographic marks gone, and a blank
        in the place of hyphens and dashes.

    Returns
    -------
    str
        Single blanks between words.
    """
    if form == "fbk":
        text = _GROUP_WITHOUT_SPACE.sub("", text).translate(_ASCII_MARKS).lower()
    elif form == "fixed":
        text = _GROUP.sub(" ", text).translate(_TYPOGRAPHIC).translate(_ASCII_MARKS).lower()
    return " ".join(text.split())


def char_ratio(source: str, target: str) -> float | None:
    """Return characters of the translation over those of the transcript; None without transcript.

    Arguments
    ---------
    source : str
        Transcript in the form that is trained on.
    target : str
        Translation as written.

    Returns
    -------
    float or None
        Gaido et al. 2022, https://arxiv.org/abs/2205.02629, keep ratios between 0.8 and 1.6.
    """
    return len(target) / len(source) if source else None


def ratio_histogram(pairs: Iterable[tuple[str, str]]) -> str:
    """Return how the ratios of characters are spread, as lines of text.

    Arguments
    ---------
    pairs : Iterable[tuple[str, str]]
        Transcript, translation.

    Returns
    -------
    str
        A line for each tenth that occurs: bounds, count, bar; the last one holds all above.
    """
    counts: Counter[int] = Counter()
    num_without = 0
    for source, target in pairs:
        ratio = char_ratio(source, target)
        if ratio is None:
            num_without += 1
        else:
            counts[min(int(ratio / _BIN_WIDTH + 1e-9), round(_LAST_BIN / _BIN_WIDTH))] += 1
    most = max(counts.values(), default=1)
    lines = [
        f"{place * _BIN_WIDTH:4.1f} to {(place + 1) * _BIN_WIDTH:3.1f} {count:8d} "
        + "#" * max(1, round(_BAR_CHARS * count / most))
        for place, count in sorted(counts.items())
    ]
    if num_without:
        lines.append(f"no transcript {num_without:6d}")
    return "\n".join(lines)
