"""The one interface of the language models that the beam searches ask.

A search keeps the state of a language model as a number. Equal numbers mean that the model tells
the two histories no longer apart, so that a search may merge them. All calls take arrays: one
call of a network, or one gather from a table, serves the whole beam.

Legend: N states, V tokens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
FIRST_CELLS = 1 << 15
"""Size that the tables of models begin with."""


class LanguageModel(ABC):
    """Scores of the next token for the states of a beam.

    Attributes
    ----------
    num_tokens : int
        V; token numbers are those of the acoustic model.
    unit : str
        Logarithm of the scores. n-gram files hold log10, and the decoder weights that papers
        publish for them go with that; networks give natural logarithms ("ln").
    """

    num_tokens: int
    unit: Literal["log10", "ln"]

    @abstractmethod
    def start(self) -> int:
        """Begin an utterance; return the state before its first token. Former states end."""

    @abstractmethod
    def scores(self, states: Ints) -> Floats:
        """Return the score of every token after each state.

        Arguments
        ---------
        states : Ints
            [N].

        Returns
        -------
        Floats
            [N, V] log-probabilities in `unit`.
        """

    @abstractmethod
    def advance(self, states: Ints, tokens: Ints) -> Ints:
        """Return the states after one token more.

        Arguments
        ---------
        states : Ints
            [N].
        tokens : Ints
            [N] within [0, V).

        Returns
        -------
        Ints
            [N].
        """

    @abstractmethod
    def finish(self, states: Ints) -> Floats:
        """Return the score of the end of the utterance after each state.

        Arguments
        ---------
        states : Ints
            [N].

        Returns
        -------
        Floats
            [N] log-probabilities in `unit`.
        """

    def score_pairs(self, states: Ints, tokens: Ints) -> Floats:
        """Return the score of one token after each state.

        Arguments
        ---------
        states : Ints
            [N].
        tokens : Ints
            [N] within [0, V).

        Returns
        -------
        Floats
            [N] log-probabilities in `unit`.
        """
        found, places = np.unique(states, return_inverse=True)
        return self.scores(found)[places, tokens]

    def keep(self, states: Ints) -> None:  # noqa: B027 - most models hold nothing to free
        """Tell that of all states only these will be asked of again; frees what others hold.

        Arguments
        ---------
        states : Ints
            [N].
        """


class NoLanguageModel(LanguageModel):
    """Every token is as likely as any other: the search follows the acoustic model alone.

    Arguments
    ---------
    num_tokens : int
        V.
    """

    unit = "ln"

    def __init__(self, num_tokens: int) -> None:
        self.num_tokens = num_tokens

    def start(self) -> int:
        """Return the only state."""
        return 0

    def scores(self, states: Ints) -> Floats:
        """Return zeros, [N, V]."""
        return np.zeros((len(states), self.num_tokens), np.float32)

    def advance(self, states: Ints, tokens: Ints) -> Ints:
        """Return the only state N times."""
        return np.zeros_like(states)

    def finish(self, states: Ints) -> Floats:
        """Return zeros, [N]."""
        return np.zeros(len(states), np.float32)
