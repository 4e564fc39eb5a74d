"""Text normalisation for scoring, and the words and characters that are compared."""

import unicodedata

APOSTROPHES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u02bc": "'"})


def normalise(text: str) -> str:
    """Return the text upper-cased, without punctuation or symbols, single spaces between words.

    This is the form behind `wer`; `wer_p` and `cer_p` compare the text as written. Every character
    of the Unicode classes P (punctuation) and S (symbols, such as $ and %) is deleted, so that
    ``same-store`` becomes ``SAMESTORE`` and ``--`` vanishes, as in Umashankar (2021).
    """
    kept = (c for c in text.upper() if unicodedata.category(c)[0] not in "PS")
    return " ".join("".join(kept).split())


def as_written(text: str) -> str:
    """Return the text with single spaces and plain apostrophes, otherwise unchanged."""
    return " ".join(text.translate(APOSTROPHES).split())
