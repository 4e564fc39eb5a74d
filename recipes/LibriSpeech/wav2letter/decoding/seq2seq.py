"""Beam search of an attention decoder over word pieces, with a language model of word pieces.

A. Hannun, A. Lee, Q. Xu, R. Collobert, "Sequence-to-Sequence Speech Recognition with
Time-Depth Separable Convolutions", Interspeech 2019, section 3.3. At each step, for a hypothesis
with log-probabilities p and the peak of its attention,

- the end is proposed only if p(end) >= eos_threshold * max p (these are logarithms, so with 1.5
  the end may be less likely than the best token, by its power of 1.5);
- other tokens only if p >= max p - soft_selection;
- a hypothesis is dropped if its peak lies more than max_attention_shift frames from that of the
  step before (-1 before the first);
- candidates more than beam_threshold below the best are dropped; completed hypotheses keep their
  place in the beam.

Hypotheses are never merged: their futures differ, whatever the language model says of their pasts.

The score is sum(log p) + lm_weight * LM + word_score * number of tokens without the end. Only
completed hypotheses are returned. Legend: B utterances, T encoder frames, K hypotheses, V tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recipes.LibriSpeech.wav2letter.decoding.hypothesis import Hypothesis
from recipes.LibriSpeech.wav2letter.decoding.language_model import (
    Ints,
    LanguageModel,
    NoLanguageModel,
)
from recipes.LibriSpeech.wav2letter.decoding.options import Seq2SeqOptions
from recipes.LibriSpeech.wav2letter.tokens import TokenSet

Scores = NDArray[np.float64]


class StepDecoder(Protocol):
    """What an attention decoder offers to the search."""

    def initial_state(self, encoded: Tensor, lengths: Tensor) -> Any:
        """Return the state before the first token of [B, T, D] encoder outputs."""
        ...

    def step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any, Tensor]:
        """Return log-probabilities [K, V], the state, and attention weights [K, T].

        `tokens` is [K]; the index V stands for the start.
        """
        ...


@dataclass
class _Beam:
    """Hypotheses of one step, best first; `peaks` is the frame of the attention's peak."""

    scores: Scores
    states: Ints
    tokens: Ints
    peaks: Ints
    places: Ints
    """Row of each in the decoder's state; of no meaning for completed ones."""


class _Asked:
    """An attention decoder that is asked for one utterance, with its state."""

    def __init__(self, decoder: StepDecoder, encoded: Tensor) -> None:
        self._decoder, self._device = decoder, encoded.device
        lengths = torch.tensor([len(encoded)], device=self._device)
        self._state = decoder.initial_state(encoded[None], lengths)

    def step(self, places: Ints, tokens: Ints) -> tuple[Scores, Ints]:
        """Go on from some rows of the state; return log-probabilities [K, V] and peaks [K]."""
        rows, last = (torch.from_numpy(part).to(self._device) for part in (places, tokens))
        logp, self._state, attention = self._decoder.step(last, gather(self._state, rows))
        return logp.double().cpu().numpy(), attention.argmax(-1).cpu().numpy()


class Seq2SeqSearch:
    """Beam search of the paper; the defaults are its values for a 4-gram.

    Arguments
    ---------
    tokens : TokenSet
        V tokens, the end among them.
    language_model : LanguageModel | None
        Of the same tokens (the end is its own `finish`); None: none.
    options : Seq2SeqOptions | None
        Widths and weights; None: the paper's, without a language model's weight.
    end : str
        Name of the token that ends an utterance.

    Raises
    ------
    ValueError
        If the language model has other tokens, or there is no such end.
    """

    def __init__(
        self,
        tokens: TokenSet,
        language_model: LanguageModel | None = None,
        *,
        options: Seq2SeqOptions | None = None,
        end: str = "</s>",
    ) -> None:
        self.model = language_model or NoLanguageModel(len(tokens))
        if self.model.num_tokens != len(tokens):
            raise ValueError(
                f"seq2seq search: the language model has {self.model.num_tokens} tokens, the "
                f"decoder {len(tokens)}; expected the same; train it on their text."
            )
        self.tokens, self.end = tokens, tokens.index(end)
        self.options = options or Seq2SeqOptions()
        shift = self.options.max_attention_shift
        self._max_shift = np.inf if shift is None else shift
        self._lm_weight = np.float64(self.options.lm_weight)
        self.num_incomplete = 0

    def __call__(self, decoder: StepDecoder, encoded: Tensor, lengths: Tensor) -> list[list[int]]:
        """Search a batch, one utterance after the other.

        Arguments
        ---------
        decoder : StepDecoder
            Attention decoder, not wrapped.
        encoded : Tensor
            [B, T, D] encoder output, right-padded.
        lengths : Tensor
            [B] frames of each utterance.

        Returns
        -------
        list[list[int]]
            B rows of tokens without end; an empty one where no hypothesis was completed, which
            is counted in `num_incomplete`.
        """
        rows = zip(encoded, lengths.tolist(), strict=True)
        found = [self.search(decoder, row[:length]) for row, length in rows]
        self.num_incomplete += sum(not best for best in found)
        return [best[0].tokens if best else [] for best in found]

    @torch.no_grad()
    def search(
        self, decoder: StepDecoder, encoded: Tensor, *, num_best: int = 1
    ) -> list[Hypothesis]:
        """Search one utterance.

        Arguments
        ---------
        decoder : StepDecoder
            Attention decoder, not wrapped.
        encoded : Tensor
            [T, D] encoder output.
        num_best : int
            Hypotheses to return, at most.

        Returns
        -------
        list[Hypothesis]
            Completed ones, best first; none if all were dropped.
        """
        if not len(encoded):
            return [Hypothesis([], 0.0, [])]
        asked = _Asked(decoder, encoded)
        beam = self._first()
        history: list[tuple[Ints, Ints]] = []
        for _ in range(self.options.max_steps):
            parents, beam = self._extend(beam, asked)
            history.append((parents, beam.tokens))
            if np.all(beam.tokens == self.end):
                break
        return self._completed(beam, history)[:num_best]

    def _first(self) -> _Beam:
        zero = np.zeros(1, np.int64)
        start = np.array([self.model.start()], np.int64)
        return _Beam(np.zeros(1), start, zero + len(self.tokens), zero - 1, zero)

    def _extend(self, beam: _Beam, asked: _Asked) -> tuple[Ints, _Beam]:
        """Return each new hypothesis's place in the former beam, and the new beam."""
        is_open = np.flatnonzero(beam.tokens != self.end)
        logp, peaks = asked.step(beam.places[is_open], beam.tokens[is_open])
        rows, cells = self._proposed(logp, peaks, beam.peaks[is_open])
        owners = is_open[rows]
        scores = beam.scores[owners] + logp[rows, cells] + self._added(beam.states[owners], cells)
        done = np.flatnonzero(beam.tokens == self.end)
        values = np.concatenate([beam.scores[done], scores])
        owners = np.concatenate([done, owners])
        cells = np.concatenate([beam.tokens[done], cells])
        rows = np.concatenate([np.full(len(done), -1), rows])
        peaks_now = np.concatenate([beam.peaks[done], peaks[rows[len(done) :]]])
        order = np.argsort(-values, kind="stable")[: self.options.beam_size]
        order = order[values[order] >= values[order[:1]] - self.options.beam_threshold]
        owners, cells, is_end = owners[order], cells[order], cells[order] == self.end
        states = np.zeros(len(order), np.int64)  # of completed ones nothing is asked any more
        states[~is_end] = self.model.advance(beam.states[owners[~is_end]], cells[~is_end])
        self.model.keep(states[~is_end])
        new = _Beam(values[order], states, cells, peaks_now[order], rows[order])
        return owners, new

    def _proposed(self, logp: Scores, peaks: Ints, before: Ints) -> tuple[Ints, Ints]:
        """Return hypotheses and the tokens that each may go on with."""
        best = logp.max(1, keepdims=True)
        allowed = logp >= best - self.options.soft_selection
        with np.errstate(invalid="ignore"):  # 0 * infinity
            bound = np.nan_to_num(self.options.eos_threshold * best[:, 0], nan=-np.inf)
        allowed[:, self.end] = logp[:, self.end] >= bound
        allowed &= (np.abs(peaks - before) <= self._max_shift)[:, None]
        rows, cells = np.nonzero(allowed & np.isfinite(logp))
        return rows, cells

    def _added(self, states: Ints, cells: Ints) -> Scores:
        """Return what language model and token bonus add to each candidate."""
        added = np.full(len(cells), float(self.options.word_score))
        ends = cells == self.end
        added[ends] = self._lm_weight * self.model.finish(states[ends])
        added[~ends] += self._lm_weight * self.model.score_pairs(states[~ends], cells[~ends])
        return added

    def _completed(self, beam: _Beam, history: list[tuple[Ints, Ints]]) -> list[Hypothesis]:
        found = []
        for place in np.flatnonzero(beam.tokens == self.end):
            path, here = [], int(place)
            for parents, tokens in reversed(history):
                path.append(int(tokens[here]))
                here = int(parents[here])
            path = [token for token in path[::-1] if token != self.end]
            found.append(Hypothesis(self.tokens.words(path), float(beam.scores[place]), path))
        return found


def gather(state: Any, places: Tensor) -> Any:
    """Return the rows of a decoder's state: a tensor, a tuple of them, or what has `select`.

    Arguments
    ---------
    state : Any
        Tensors with the batch first, or a state with a method `select(places)`.
    places : Tensor
        [K] int64.

    Returns
    -------
    Any
        Of the same form.
    """
    if isinstance(state, Tensor):
        return state[places]
    if isinstance(state, tuple):
        return tuple(gather(part, places) for part in state)
    return state.select(places)
