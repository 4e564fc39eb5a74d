"""Beam search whose result does not depend on the batch.

As fairseq's sequence generator scores (Ott et al. 2019): a finished hypothesis is worth the sum of
its log-probabilities over its length (the end counted) to a power; an utterance is done once it
has as many finished ones as the beam is wide. The bound on length is a number of tokens, not a
share of the padded encoder length. An utterance that is done leaves the batch.

Axes: B utterances at work, K beam, V tokens, U tokens up to now.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from recipes.MuSTC.ST.conformer.decoder import Decoder, DecoderState


@dataclass
class _Finished:
    """The finished hypotheses of one utterance: score, tokens."""

    scored: list[tuple[float, list[int]]] = field(default_factory=list)

    def best(self) -> list[int]:
        return max(self.scored, key=lambda pair: pair[0])[1]


class BeamSearcher:
    """Searches for the best translation of each utterance.

    Arguments
    ---------
    eos_index : int
        Token of the end.
    forbidden : tuple[int, ...] | list[int]
        Tokens that are never chosen, such as padding and start.
    beam_size : int
        K; 1 is greedy search.
    max_tokens : int
        Longest translation, the end not counted.
    min_tokens : int
        Shortest one.
    no_repeat : int | None
        No sequence of so many tokens comes twice in a translation; None: anything may.
    length_power : float
        Of the length that scores are divided by; 1 is their mean, 0 their sum.
    """

    def __init__(
        self,
        *,
        eos_index: int,
        forbidden: tuple[int, ...] | list[int] = (),
        beam_size: int = 5,
        max_tokens: int = 200,
        min_tokens: int = 1,
        no_repeat: int | None = 5,
        length_power: float = 1.0,
    ) -> None:
        rules = {
            f"beam_size is {beam_size}; expected >= 1": beam_size >= 1,
            f"min_tokens is {min_tokens}, max_tokens {max_tokens}; expected 0 <= min <= max": (
                0 <= min_tokens <= max_tokens
            ),
            f"no_repeat is {no_repeat}; expected >= 1 or null": no_repeat is None or no_repeat >= 1,
        }
        faults = [fault for fault, holds in rules.items() if not holds]
        if faults:
            raise ValueError("beam search: " + "; ".join(faults) + ".")
        self.eos_index, self.forbidden = eos_index, list(forbidden)
        self.beam_size, self.no_repeat, self.length_power = beam_size, no_repeat, length_power
        self.max_tokens, self.min_tokens = max_tokens, min_tokens

    @torch.no_grad()
    def __call__(
        self, decoder: Decoder, states: Tensor, lengths: Tensor, prefix: Tensor
    ) -> list[list[int]]:
        """Return the best translation of each utterance.

        Arguments
        ---------
        decoder : Decoder
            In evaluation mode.
        states : Tensor
            [B, R, D] of the encoder.
        lengths : Tensor
            [B] int64.
        prefix : Tensor
            [B, P] int64 tokens that the decoder is given first: a start or a tag, or both.

        Returns
        -------
        list[list[int]]
            B lists of tokens, without prefix and end.
        """
        beam = _Beam(self, decoder, states, lengths, prefix)
        while beam.advance():
            pass
        return [finished.best() for finished in beam.finished]

    def allowed(self, logits: Tensor, tokens: Tensor) -> Tensor:
        """Return log-probabilities in float32, those of what may not follow at -infinity.

        Arguments
        ---------
        logits : Tensor
            [N, V].
        tokens : Tensor
            [N, U] int64 tokens chosen up to now.

        Returns
        -------
        Tensor
            [N, V] float32.
        """
        logp = logits.float().log_softmax(-1)
        for token in self.forbidden:
            logp[:, token] = -math.inf
        num_tokens = tokens.shape[1]
        if self.no_repeat is not None:
            _forbid_repeats(logp, tokens, self.no_repeat)
        if num_tokens < self.min_tokens:
            logp[:, self.eos_index] = -math.inf
        if num_tokens >= self.max_tokens:
            ends = logp[:, self.eos_index].clone()
            logp.fill_(-math.inf)
            logp[:, self.eos_index] = ends
        return logp


class _Beam:
    """The hypotheses of all utterances that are not done, K of each, best first."""

    def __init__(
        self,
        search: BeamSearcher,
        decoder: Decoder,
        states: Tensor,
        lengths: Tensor,
        prefix: Tensor,
    ) -> None:
        self.search, self.decoder = search, decoder
        num, width = len(states), search.beam_size
        self.finished = [_Finished() for _ in range(num)]
        self.at_work = list(range(num))
        state = decoder.start(states, lengths)
        for column in prefix.unbind(1):
            self.logits, state = decoder.step(column, state)
        rows = torch.arange(num, device=states.device).repeat_interleave(width)
        self.state: DecoderState = state.select(rows)
        self.logits = self.logits[rows]
        self.tokens = prefix.new_zeros(num * width, 0)
        # At first all hypotheses are equal: only one of each utterance may go on.
        self.scores = torch.full((num, width), -math.inf, device=states.device)
        self.scores[:, 0] = 0.0

    def advance(self) -> bool:
        """Choose the next token of every hypothesis; tell whether there is more to do."""
        width, end = self.search.beam_size, self.search.eos_index
        logp = self.search.allowed(self.logits, self.tokens)
        num_tokens = logp.shape[-1]
        totals = self.scores[..., None] + logp.view(len(self.at_work), width, num_tokens)
        # Twice as many as the beam is wide: half of them may be ends.
        most = min(2 * width, width * num_tokens)
        scores, places = totals.flatten(1).topk(most, dim=1)
        parents = torch.div(places, num_tokens, rounding_mode="floor")
        chosen = places % num_tokens
        self._collect(scores, parents, chosen)
        # What goes on: the best that do not end.
        order = (chosen == end).long().argsort(dim=1, stable=True)[:, :width]
        scores, parents, chosen = (x.gather(1, order) for x in (scores, parents, chosen))
        scores = scores.masked_fill(chosen == end, -math.inf)
        return self._go_on(scores, parents, chosen)

    def _collect(self, scores: Tensor, parents: Tensor, chosen: Tensor) -> None:
        width, length = self.search.beam_size, self.tokens.shape[1] + 1
        is_end = (chosen[:, :width] == self.search.eos_index) & scores[:, :width].isfinite()
        for row, place in is_end.nonzero().tolist():
            finished = self.finished[self.at_work[row]].scored
            if len(finished) < width:
                value = float(scores[row, place]) / length**self.search.length_power
                tokens = self.tokens[row * width + int(parents[row, place])].tolist()
                finished.append((value, tokens))

    def _go_on(self, scores: Tensor, parents: Tensor, chosen: Tensor) -> bool:
        width = self.search.beam_size
        is_alive = scores.isfinite().any(1).tolist()
        kept = [
            row
            for row, number in enumerate(self.at_work)
            if len(self.finished[number].scored) < width and is_alive[row]
        ]
        if not kept:
            return False
        is_same = len(kept) == len(self.at_work)
        self.at_work = [self.at_work[row] for row in kept]
        rows = torch.tensor(kept, device=scores.device)
        self.scores = scores[rows]
        flat = (rows[:, None] * width + parents[rows]).flatten()  # [B * K]
        self.tokens = torch.cat([self.tokens[flat], chosen[rows].view(-1, 1)], dim=1)
        state = self.state.select(flat, with_memory=not is_same)
        self.logits, self.state = self.decoder.step(self.tokens[:, -1], state)
        return True


def _forbid_repeats(logp: Tensor, tokens: Tensor, size: int) -> None:
    """Set to -infinity, in place, what would complete a sequence of `size` tokens again."""
    if tokens.shape[1] < size:
        return
    windows = tokens.unfold(1, size, 1)  # [N, W, size]
    latest = tokens[:, tokens.shape[1] - size + 1 :]  # [N, size - 1]
    is_again = (windows[..., :-1] == latest[:, None]).all(-1)  # [N, W]
    rows, places = is_again.nonzero(as_tuple=True)
    logp[rows, windows[rows, places, -1]] = -math.inf
