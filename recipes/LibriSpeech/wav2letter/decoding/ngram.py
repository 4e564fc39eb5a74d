"""A back-off n-gram model as an automaton: rows of scores and next states, made when asked for.

The row of a context c is that of its suffix, plus the back-off weight of c, with the n-grams that
begin with c written over it (S. Katz 1987, the recursion of the ARPA form). Rows stay in a table,
so that a frame of a beam search is one gather. A state is the longest context that still matters
(has a longer n-gram or a back-off weight), as in K. Heafield, "KenLM", WMT 2011, section 4.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from recipes.LibriSpeech.wav2letter.decoding.arpa import NGrams, read_arpa
from recipes.LibriSpeech.wav2letter.decoding.language_model import (
    FIRST_CELLS,
    Floats,
    Ints,
    LanguageModel,
)

CACHE_BYTES = 1 << 28


class NGramModel(LanguageModel):
    """n-gram model of tokens from an ARPA file, in numpy alone.

    Arguments
    ---------
    path : str | Path
        `.arpa` or `.arpa.gz`. A model of many millions of n-grams is read faster from KenLM's
        binary form, see `kenlm_model.KenLMModel`.
    tokens : Sequence[str]
        V tokens in the order of the acoustic model.
    cache_bytes : int
        Rows kept from one utterance to the next, at most.
    """

    unit = "log10"

    def __init__(
        self, path: str | Path, tokens: Sequence[str], *, cache_bytes: int = CACHE_BYTES
    ) -> None:
        self.ngrams = read_arpa(path, tokens)
        self.num_tokens = len(tokens)
        self._state_of = _states(self.ngrams)
        self._max_rows = max(1024, cache_bytes // (12 * (self.num_tokens + 1)))
        context = self.ngrams.child(np.zeros(1, np.int64), np.array([self.ngrams.start]))
        self._start = int(self._state_of[context[0]])
        self._clear()

    def start(self) -> int:
        """Return the state after `<s>`; forget rows if there are too many."""
        if self._num_rows > self._max_rows:
            self._clear()
        return self._start

    def scores(self, states: Ints) -> Floats:
        """Return [N, V] log10 probabilities."""
        rows = self._rows(states)  # may make the table anew
        return self._scores[rows, : self.num_tokens]

    def advance(self, states: Ints, tokens: Ints) -> Ints:
        """Return the longest context that matters after each token."""
        rows = self._rows(states)
        return self._next[rows, tokens]

    def finish(self, states: Ints) -> Floats:
        """Return [N] log10 p(</s>)."""
        rows = self._rows(states)
        return self._scores[rows, self.num_tokens]

    def score_pairs(self, states: Ints, tokens: Ints) -> Floats:
        """Return [N] log10 probabilities, by the back-off recursion where a row would be long."""
        if self.num_tokens <= 1024:
            rows = self._rows(states)
            return self._scores[rows, tokens]
        nodes, added = states, np.zeros(len(states), np.float32)
        found = self.ngrams.child(nodes, tokens)
        while np.any(absent := found < 0):
            added = np.where(absent, added + self.ngrams.backoff[nodes], added)
            nodes = np.where(absent, self.ngrams.suffix[nodes], nodes)
            found = np.where(absent, self.ngrams.child(nodes, tokens), found)
        return added + self.ngrams.log10[found]

    def _clear(self) -> None:
        width = self.num_tokens + 1
        self._row_of = np.full(len(self.ngrams.log10), -1, np.int64)
        shape = max(8, FIRST_CELLS // width), width
        self._scores = np.zeros(shape, np.float32)
        self._next = np.zeros(shape, np.int64)
        self._row_of[0], self._num_rows = 0, 1
        self._write(np.zeros(1, np.int64), np.zeros(1, np.int64))

    def _rows(self, states: Ints) -> Ints:
        rows = self._row_of[states]
        if rows.min(initial=0) < 0:
            self._make(np.unique(states[rows < 0]))
            rows = self._row_of[states]
        return rows

    def _make(self, nodes: Ints) -> None:
        """Make rows of contexts, and of their suffixes, which they are made of."""
        wanted, chain = [nodes], nodes
        while len(chain):
            chain = self.ngrams.suffix[chain]
            chain = np.unique(chain[self._row_of[chain] < 0])
            wanted.append(chain)
        every = np.unique(np.concatenate(wanted))  # ascending, hence the shorter ones first
        self._reserve(len(every))
        rows = self._num_rows + np.arange(len(every))
        self._row_of[every] = rows
        self._num_rows += len(every)
        bounds = np.flatnonzero(np.diff(self.ngrams.orders[every])) + 1
        for part, into in zip(np.split(every, bounds), np.split(rows, bounds), strict=True):
            suffixes = self._row_of[self.ngrams.suffix[part]]
            self._scores[into] = self._scores[suffixes] + self.ngrams.backoff[part][:, None]
            self._next[into] = self._next[suffixes]
            self._write(part, into)

    def _write(self, nodes: Ints, rows: Ints) -> None:
        """Write the n-grams that begin with a context over its row."""
        first = self.ngrams.first[nodes]
        counts = self.ngrams.first[nodes + 1] - first
        owners = np.repeat(np.arange(len(nodes)), counts)
        places = np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)
        children = first[owners] + places
        words = self.ngrams.keys[children - 1] % self.ngrams.num_ids
        is_emitted = words <= self.ngrams.end
        owners, children, words = owners[is_emitted], children[is_emitted], words[is_emitted]
        self._scores[rows[owners], words] = self.ngrams.log10[children]
        self._next[rows[owners], words] = self._state_of[children]

    def _reserve(self, number: int) -> None:
        needed = self._num_rows + number
        if needed > len(self._scores):
            more = max(needed, 2 * len(self._scores)) - len(self._scores)
            self._scores = np.pad(self._scores, ((0, more), (0, 0)))
            self._next = np.pad(self._next, ((0, more), (0, 0)))


def _states(ngrams: NGrams) -> Ints:
    """Return for each node the longest suffix of it that matters as a context."""
    matters = (np.diff(ngrams.first) > 0) | (ngrams.backoff != 0)
    matters[0] = True
    states = np.arange(len(matters))
    for order in range(1, int(ngrams.orders[-1]) + 1):
        nodes = np.flatnonzero((ngrams.orders == order) & ~matters)
        states[nodes] = states[ngrams.suffix[nodes]]
    return states
