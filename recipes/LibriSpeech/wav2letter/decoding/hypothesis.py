"""What a beam search finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


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


def search_batch(
    search: Callable[[Tensor, Tensor], list[Hypothesis]],
    emissions: Tensor,
    num_frames: Tensor,
    transitions: Tensor,
) -> list[list[int]]:
    """Search a batch, one utterance after the other.

    Arguments
    ---------
    search : Callable[[Tensor, Tensor], list[Hypothesis]]
        From emissions [T, V] and transitions to hypotheses, best first.
    emissions : Tensor
        [B, T, V] scores, right-padded.
    num_frames : Tensor
        [B] frames of each utterance.
    transitions : Tensor
        [V, V] score of going to the row's token from the column's.

    Returns
    -------
    list[list[int]]
        B paths, one token a frame; empty where nothing was found.
    """
    rows = zip(emissions, num_frames.tolist(), strict=True)
    found = [search(row[:length], transitions) for row, length in rows]
    return [best[0].tokens if best else [] for best in found]
