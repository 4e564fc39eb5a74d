"""Greedy search of the transducer, for all utterances of a batch at once.

At encoder step t the best class of joint(f_t, g) decides: the blank goes on to t + 1; a token is
put out, the predictor takes it in, and the same step is looked at again, up to `max_per_step`
times. An utterance ends behind its own last step, or at `max_tokens`.

The predictor changes only when a token is put out. So for every utterance a window of steps is
looked at together, and it goes on to the first that is no blank: the number of rounds is that of
tokens plus windows, not of tokens plus steps.

Axes: B utterances, E encoder steps, K steps of a window, J joint features, V classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

CHECK_EVERY = 8
"""Rounds between two looks whether all utterances have ended: each look waits for the device."""


@dataclass
class _Search:
    """Where each utterance stands; [B] each.

    Arguments
    ---------
    step : Tensor
        Encoder step that is looked at.
    num_here : Tensor
        Tokens put out at this step.
    num_tokens : Tensor
        Tokens put out.
    pred : Tensor
        [B, J] the predictor's half of the joint.
    state : tuple[Tensor, Tensor]
        [L, B, H] of its LSTM.
    tokens : Tensor
        [B, max_tokens + 1] what was put out; the last place is for what is not.
    """

    step: Tensor
    num_here: Tensor
    num_tokens: Tensor
    pred: Tensor
    state: tuple[Tensor, Tensor]
    tokens: Tensor


class GreedySearcher:
    """Batched greedy search; see the module.

    Arguments
    ---------
    predictor : Any
        With ``start`` and ``step`` of :class:`recipes.LibriSpeech.ASR.transducer.model.Predictor`.
    joint : Any
        With ``logits`` of :class:`recipes.LibriSpeech.ASR.transducer.model.Joint`.
    max_per_step : int
        Tokens at one encoder step at most.
    max_tokens : int
        Tokens of an utterance at most.
    window : int
        Steps looked at together; 1 for one at a time.
    """

    def __init__(
        self,
        predictor: Any,
        joint: Any,
        *,
        max_per_step: int = 30,
        max_tokens: int = 300,
        window: int = 8,
    ) -> None:
        if min(max_per_step, max_tokens, window) < 1:
            raise ValueError(
                f"GreedySearcher: max_per_step {max_per_step}, max_tokens {max_tokens}, window "
                f"{window}; expected numbers >= 1."
            )
        self.predictor, self.joint = predictor, joint
        self.max_per_step, self.max_tokens, self.window = max_per_step, max_tokens, window

    @torch.no_grad()
    def __call__(self, enc: Tensor, num_steps: Tensor) -> list[list[int]]:
        """Return the tokens of each utterance.

        Arguments
        ---------
        enc : Tensor
            [B, E, J] the encoder's half of the joint.
        num_steps : Tensor
            [B] int64 lengths.

        Returns
        -------
        list[list[int]]
            Without blanks.
        """
        search = self._begin(enc)
        rounds = 0
        while True:
            self._round(search, enc, num_steps)
            rounds += 1
            if rounds % CHECK_EVERY == 0 and not bool(self._is_active(search, num_steps).any()):
                break
        lengths, rows = search.num_tokens.tolist(), search.tokens.tolist()
        return [row[:length] for row, length in zip(rows, lengths, strict=True)]

    def _begin(self, enc: Tensor) -> _Search:
        batch = len(enc)
        pred, state = self.predictor.start(batch)
        zeros = torch.zeros(batch, dtype=torch.int64, device=enc.device)
        tokens = zeros[:, None].repeat(1, self.max_tokens + 1)
        return _Search(zeros, zeros.clone(), zeros.clone(), pred, state, tokens)

    def _is_active(self, search: _Search, num_steps: Tensor) -> Tensor:
        return (search.step < num_steps) & (search.num_tokens < self.max_tokens)

    def _round(self, search: _Search, enc: Tensor, num_steps: Tensor) -> None:
        """Go to the next token of each utterance, or to the end of the window."""
        is_active = self._is_active(search, num_steps)
        place, token, is_token = self._look(search, enc, num_steps)
        is_token = is_token & is_active
        # Put out, or write to the place that nobody reads.
        column = torch.where(is_token, search.num_tokens, self.max_tokens)
        search.tokens.scatter_(1, column[:, None], token[:, None])
        search.num_tokens = search.num_tokens + is_token
        moved = place > search.step
        here = torch.where(moved, 0, search.num_here) + is_token
        is_full = is_token & (here >= self.max_per_step)
        step = torch.where(is_full, place + 1, place)
        search.step = torch.where(is_active, step, search.step)
        search.num_here = torch.where(is_full, 0, here)
        self._advance(search, token, is_token)

    def _look(
        self, search: _Search, enc: Tensor, num_steps: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the first step of the window with a token, that token, and whether there is one.

        Without one the step is the first behind the window.
        """
        offset = torch.arange(self.window, device=enc.device)
        steps = search.step[:, None] + offset  # [B, K]
        index = steps.clamp(max=enc.shape[1] - 1)[..., None].expand(-1, -1, enc.shape[2])
        logits = self.joint.logits(enc.gather(1, index), search.pred[:, None])  # [B, K, V]
        best = logits.argmax(-1)
        is_token = (best != logits.shape[-1] - 1) & (steps < num_steps[:, None])
        any_token = is_token.any(1)
        first = torch.where(any_token, is_token.int().argmax(1), self.window - 1)
        token = best.gather(1, first[:, None]).squeeze(1)
        place = search.step + torch.where(any_token, first, self.window)
        return place, torch.where(any_token, token, 0), any_token

    def _advance(self, search: _Search, token: Tensor, is_token: Tensor) -> None:
        pred, state = self.predictor.step(token, search.state)
        search.pred = torch.where(is_token[:, None], pred, search.pred)
        search.state = tuple(  # type: ignore[assignment]
            torch.where(is_token[None, :, None], new, old)
            for new, old in zip(state, search.state, strict=True)
        )


@torch.no_grad()
def search_one(
    predictor: Any, joint: Any, enc: Tensor, *, max_per_step: int = 30, max_tokens: int = 300
) -> list[int]:
    """Return the tokens of one utterance, step by step: the reference's way.

    Arguments
    ---------
    predictor : Any
        See :class:`GreedySearcher`.
    joint : Any
        See :class:`GreedySearcher`.
    enc : Tensor
        [E, J] the utterance's own steps only.
    max_per_step : int
        Tokens at one encoder step at most.
    max_tokens : int
        Tokens at most.

    Returns
    -------
    list[int]
        Without blanks.
    """
    pred, state = predictor.start(1)
    tokens: list[int] = []
    for step in enc:
        for _ in range(max_per_step):
            if len(tokens) == max_tokens:
                return tokens
            logits = joint.logits(step[None], pred)
            best = int(logits.argmax())
            if best == logits.shape[-1] - 1:
                break
            tokens.append(best)
            pred, state = predictor.step(logits.argmax(-1), state)
    return tokens


class OneByOneSearcher:
    """:func:`search_one` for a batch, utterance by utterance: the reference's way.

    Arguments
    ---------
    predictor : Any
        See :class:`GreedySearcher`.
    joint : Any
        See :class:`GreedySearcher`.
    max_per_step : int
        Tokens at one encoder step at most.
    max_tokens : int
        Tokens of an utterance at most.
    """

    def __init__(
        self, predictor: Any, joint: Any, *, max_per_step: int = 30, max_tokens: int = 300
    ) -> None:
        self._parts = (predictor, joint)
        self._limits = {"max_per_step": max_per_step, "max_tokens": max_tokens}

    def __call__(self, enc: Tensor, num_steps: Tensor) -> list[list[int]]:
        """Return the tokens of each utterance of [B, E, J] with [B] steps."""
        rows = zip(enc, num_steps.tolist(), strict=True)
        return [search_one(*self._parts, row[:length], **self._limits) for row, length in rows]
