"""Beam search without a lexicon, for a criterion with transitions and without a blank.

A. Likhomanenko, G. Synnaeve, R. Collobert, "Who Needs Words? Lexicon-Free Speech Recognition",
Interspeech 2019, section 2.3. A path pi of one token a frame has the score

    sum_t x[t, pi_t] + sum_{t > 0} g[pi_t, pi_{t-1}]
      + sil_weight * #{t: pi_t = |} + word_score * #{t: | is entered}
      + lm_weight * (sum over changes of the token of LM(token) + LM(end)),

where the search begins in `|`, without a transition into the first frame. Paths that end in the
same token and the same state of the language model are one hypothesis, the better of them (max,
not log-add). The beam of a frame is one set of arrays; per frame there are two dozen array
operations, whatever its size.

Legend: T frames, V tokens, K hypotheses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recipes.LibriSpeech.wav2letter.decoding.hypothesis import Hypothesis, search_batch
from recipes.LibriSpeech.wav2letter.decoding.language_model import (
    Ints,
    LanguageModel,
    NoLanguageModel,
)
from recipes.LibriSpeech.wav2letter.decoding.options import BeamOptions
from recipes.LibriSpeech.wav2letter.tokens import TokenSet

Scores = NDArray[np.float64]


@dataclass
class _Beam:
    """Hypotheses of one frame, best first: score, state of the language model, last token."""

    scores: Scores
    states: Ints
    tokens: Ints


class LexiconFreeSearch:
    """Beam search over tokens.

    Arguments
    ---------
    tokens : TokenSet
        Of the acoustic model.
    language_model : LanguageModel | None
        Of the same tokens; None: none.
    options : BeamOptions | None
        Widths and weights; None: the defaults, without a language model's weight.

    Raises
    ------
    ValueError
        If the language model has other tokens.
    """

    def __init__(
        self,
        tokens: TokenSet,
        language_model: LanguageModel | None = None,
        options: BeamOptions | None = None,
    ) -> None:
        self.tokens = tokens
        self.model = language_model or NoLanguageModel(len(tokens))
        if self.model.num_tokens != len(tokens):
            raise ValueError(
                f"lexicon-free search: the language model has {self.model.num_tokens} tokens, the "
                f"acoustic model {len(tokens)}; expected the same; train it on their text."
            )
        self.options = options or BeamOptions()
        # A float64 turns the scores of the model, float32, into float64.
        self._lm_weight = np.float64(self.options.lm_weight)
        self._separator = tokens.index(tokens.separator)

    def __call__(
        self, emissions: Tensor, num_frames: Tensor, transitions: Tensor
    ) -> list[list[int]]:
        """Search a batch, in place of `viterbi` in a recipe; see `search_batch`."""
        return search_batch(self.search, emissions, num_frames, transitions)

    def search(
        self, emissions: Tensor, transitions: Tensor, *, num_best: int = 1
    ) -> list[Hypothesis]:
        """Search one utterance.

        Arguments
        ---------
        emissions : Tensor
            [T, V] scores, unnormalised; float32 or finer.
        transitions : Tensor
            [V, V] score of going to the row's token from the column's.
        num_best : int
            Hypotheses to return, at most.

        Returns
        -------
        list[Hypothesis]
            Best first; one without words if there is no frame.

        Raises
        ------
        ValueError
            If the shapes do not fit the tokens, or a value is not finite.
        """
        frames, moves = checked_arrays(emissions, transitions, num_tokens=len(self.tokens))
        steps = self._steps(moves)
        beam = self._first()
        parents, chosen = [], []
        for number, frame in enumerate(frames):
            places, beam = self._extend(beam, frame, steps if number else self._steps(moves * 0))
            parents.append(places)
            chosen.append(beam.tokens)
        finals = beam.scores + self._lm_weight * self.model.finish(beam.states)
        order = np.argsort(-finals, kind="stable")[:num_best]
        found = []
        for last in order:
            path = _trace(parents, chosen, int(last))
            words = self.tokens.words_of_path(path)
            found.append(Hypothesis(words, float(finals[last]), path))
        return found

    def _first(self) -> _Beam:
        start = np.array([self.model.start()], np.int64)
        return _Beam(np.zeros(1), start, np.array([self._separator]))

    def _steps(self, moves: Scores) -> Scores:
        """Return [from, to]: what it adds to go from one token to another, but for the model."""
        steps: Scores = moves.T.copy()
        steps[:, self._separator] += self.options.sil_weight + self.options.word_score
        steps[self._separator, self._separator] -= self.options.word_score
        return steps

    def _extend(self, beam: _Beam, frame: Scores, steps: Scores) -> tuple[Ints, _Beam]:
        """Return the beam after a frame, and the place of each one's parent in the former beam."""
        size, num_tokens = len(beam.scores), len(frame)
        weighted = self._lm_weight * self.model.scores(beam.states)  # [K, V]
        weighted[np.arange(size), beam.tokens] = 0.0  # a token that stays is no new one
        totals = steps[beam.tokens]
        totals += weighted
        totals += beam.scores[:, None] + frame
        flat = totals.ravel()
        candidates = np.flatnonzero(flat >= flat.max() - self.options.beam_threshold)
        values = flat[candidates]
        wanted = self.options.beam_size
        while True:
            best = _largest(values, wanted)
            kept, states, tokens = self._merged(beam, candidates[best], num_tokens)
            if len(kept) >= self.options.beam_size or len(best) == len(values):
                break
            wanted *= 2  # some were merged away: others take their places
        kept, states, tokens = (part[: self.options.beam_size] for part in (kept, states, tokens))
        self.model.keep(states)
        chosen = candidates[best][kept]
        return chosen // num_tokens, _Beam(flat[chosen], states, tokens)

    def _merged(self, beam: _Beam, cells: Ints, num_tokens: int) -> tuple[Ints, Ints, Ints]:
        """Return which cells (best first) are the best of their kind, their states and tokens."""
        owners, tokens = np.divmod(cells, num_tokens)
        states = beam.states[owners]
        is_new = tokens != beam.tokens[owners]
        states[is_new] = self.model.advance(states[is_new], tokens[is_new])
        kinds = states * num_tokens + tokens
        order = np.argsort(kinds, kind="stable")
        is_first = np.ones(len(order), bool)
        is_first[1:] = np.diff(kinds[order]) != 0
        kept = np.sort(order[is_first])
        return kept, states[kept], tokens[kept]


def _largest(values: Scores, number: int) -> Ints:
    """Return the places of the largest values, largest first."""
    places = np.arange(len(values))
    if len(values) > number:
        places = np.argpartition(values, len(values) - number)[-number:]
    return places[np.argsort(-values[places], kind="stable")]


def _trace(parents: Sequence[Ints], chosen: Sequence[Ints], last: int) -> list[int]:
    """Return the token of every frame of a hypothesis, from its place in the last beam."""
    path = []
    for places, tokens in zip(reversed(parents), reversed(chosen), strict=True):
        path.append(int(tokens[last]))
        last = int(places[last])
    return path[::-1]


def checked_arrays(
    emissions: Tensor, transitions: Tensor, *, num_tokens: int
) -> tuple[Scores, Scores]:
    """Return emissions and transitions as float64 arrays.

    Arguments
    ---------
    emissions : Tensor
        [T, V].
    transitions : Tensor
        [V, V].
    num_tokens : int
        V.

    Returns
    -------
    tuple[Scores, Scores]
        Both on the CPU.

    Raises
    ------
    ValueError
        If the shapes do not fit, or a value is not finite.
    """
    shapes = tuple(emissions.shape), tuple(transitions.shape)
    if emissions.dim() != 2 or shapes != ((len(emissions), num_tokens), (num_tokens, num_tokens)):
        raise ValueError(
            f"beam search: emissions are {shapes[0]}, transitions {shapes[1]}; expected [T, "
            f"{num_tokens}] and [{num_tokens}, {num_tokens}], as there are {num_tokens} tokens."
        )
    frames, moves = (
        part.detach().to("cpu", torch.float64).numpy() for part in (emissions, transitions)
    )
    if not (np.isfinite(frames).all() and np.isfinite(moves).all()):
        raise ValueError(
            "beam search: emissions or transitions hold values that are not finite; expected "
            "scores; look for the update that broke the acoustic model."
        )
    return frames, moves
