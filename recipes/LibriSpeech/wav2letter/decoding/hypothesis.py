"""What a beam search finds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Hypothesis:
    """One transcript with its score.

    Arguments
    ---------
    words : list[str]
        The transcript.
    score : float
        Of acoustic model, language model and insertions together.
    tokens : list[int]
        Of every frame (criterion without blank), or of every step (attention decoder).
    """

    words: list[str]
    score: float
    tokens: list[int]

    @property
    def text(self) -> str:
        """The words, parted by blanks."""
        return " ".join(self.words)
