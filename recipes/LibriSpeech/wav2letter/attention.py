"""The attention decoder of the TDS recipe: one GRU layer, one round of dot-product attention.

A. Hannun et al. 2019, https://arxiv.org/abs/1904.02619, section 2. For encoder output [K, V] (keys
and values, half each) and step u with the token before, y_{u-1}:

    h_u = GRU(embedding(y_{u-1}), h_{u-1})
    a_u = softmax_t(h_u . K_t / sqrt(H) + log w_{u,t});   logits_u = W (h_u + sum_t a_{u,t} V_t) + b

w is 1, or in the first epochs a window around the diagonal. As nothing of the attention is fed
back, all steps of a known target are computed at once.

Axes: B utterances, T encoder frames, U steps, H size, V tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from recipes.common.lengths import padding_mask
from recipes.LibriSpeech.wav2letter.initial import uniform_as_flashlight

START_RANGE = 0.1


@dataclass(frozen=True, slots=True)
class DecoderState:
    """State of a search: of each hypothesis what it has heard of the tokens before.

    Arguments
    ---------
    hidden : Tensor
        [beam, H] of the GRU.
    owner : Tensor
        [beam] int64, the utterance of each hypothesis.
    keys, values, is_padding : Tensor, Tensor, Tensor
        [B, T, H], [B, T, H], [B, T] bool of the utterances; shared by all states of a search.
    """

    hidden: Tensor
    owner: Tensor
    keys: Tensor
    values: Tensor
    is_padding: Tensor

    def select(self, index: Tensor) -> DecoderState:
        """Return the state of the hypotheses of an index [beam'], in its order."""
        return DecoderState(
            self.hidden[index], self.owner[index], self.keys, self.values, self.is_padding
        )

    def of_hypotheses(self, x: Tensor) -> Tensor:
        """Return x [B, ...] of the utterances as [beam, ...]; a view where there is only one."""
        return x.expand(len(self.owner), *x.shape[1:]) if len(x) == 1 else x[self.owner]


class AttentionDecoder(torch.nn.Module):
    """The decoder; always in float32.

    Arguments
    ---------
    num_tokens : int
        V, the end token included, which is the last.
    size : int
        H; the encoder's output is twice as wide.
    """

    def __init__(self, *, num_tokens: int, size: int) -> None:
        super().__init__()
        self.num_tokens, self.size = num_tokens, size
        self.start_index = num_tokens  # stands for the learned start vector
        self.end_index = num_tokens - 1
        self.embedding = torch.nn.Embedding(num_tokens, size)
        self.start = torch.nn.Parameter(torch.empty(size).uniform_(-START_RANGE, START_RANGE))
        self.gru = torch.nn.GRU(size, size, batch_first=True)
        self.out = torch.nn.Linear(size, num_tokens)
        bound = 1 / math.sqrt(size)
        torch.nn.init.uniform_(self.embedding.weight, -bound, bound)
        uniform_as_flashlight(self.out.weight, self.out.bias, fan_in=size)

    def forward(
        self,
        encoded: Tensor,
        lengths: Tensor,
        tokens: Tensor,
        window: Tensor | None = None,
    ) -> Tensor:
        """Return the logits of every step of known targets.

        Arguments
        ---------
        encoded : Tensor
            [B, T, 2 H].
        lengths : Tensor
            [B] int64 encoder frames.
        tokens : Tensor
            [B, U - 1] int64, the token before each step but the first.
        window : Tensor | None
            [B, U, T] log weights of the attention, see `soft_window`.

        Returns
        -------
        Tensor
            [B, U, V] float32.
        """
        with torch.autocast(encoded.device.type, enabled=False):
            encoded = encoded.float()
            start = self.start.expand(len(tokens), 1, -1)
            inputs = torch.cat([start, self.embedding(tokens)], dim=1)  # [B, U, H]
            hidden, _ = self.gru(inputs)
            keys, values = encoded.split(self.size, dim=-1)
            is_padding = padding_mask(lengths, encoded)[:, None]  # [B, 1, T]
            attention = self._attend(hidden, keys, is_padding, window)
            return self.out(hidden + attention @ values)

    def initial_state(self, encoded: Tensor, lengths: Tensor) -> DecoderState:
        """Return the state before the first step, one hypothesis an utterance.

        Arguments
        ---------
        encoded : Tensor
            [B, T, 2 H].
        lengths : Tensor
            [B] int64.

        Returns
        -------
        DecoderState
            Give it to `step` with the tokens `start_index`; repeat it with `select`.
        """
        encoded = encoded.float()
        keys, values = encoded.split(self.size, dim=-1)
        return DecoderState(
            hidden=encoded.new_zeros(len(encoded), self.size),
            owner=torch.arange(len(encoded), device=encoded.device),
            keys=keys,
            values=values,
            is_padding=padding_mask(lengths, encoded),
        )

    def step(self, tokens: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState, Tensor]:
        """Take one step of a search.

        Arguments
        ---------
        tokens : Tensor
            [beam] int64, the last token of each hypothesis; `start_index` at the first step.
        state : DecoderState
            After the tokens before it.

        Returns
        -------
        tuple[Tensor, DecoderState, Tensor]
            [beam, V] float32 log-probabilities of the next token, the new state, and [beam, T]
            attention.
        """
        with torch.autocast(tokens.device.type, enabled=False):
            table = torch.cat([self.embedding.weight, self.start[None]])
            _, hidden = self.gru(table[tokens][:, None], state.hidden[None].contiguous())
            query = hidden[0][:, None]  # [beam, 1, H]
            keys, values, is_padding = (
                state.of_hypotheses(x) for x in (state.keys, state.values, state.is_padding)
            )
            attention = self._attend(query, keys, is_padding[:, None], None)
            logits = self.out((query + attention @ values)[:, 0])
        after = DecoderState(hidden[0], state.owner, state.keys, state.values, state.is_padding)
        return logits.log_softmax(-1), after, attention[:, 0]

    def _attend(
        self, query: Tensor, keys: Tensor, is_padding: Tensor, window: Tensor | None
    ) -> Tensor:
        scores = query @ keys.transpose(1, 2) / math.sqrt(self.size)  # [B, U, T]
        if window is not None:
            scores = scores + window
        return scores.masked_fill(is_padding, -torch.inf).softmax(-1)


def soft_window(
    lengths: Tensor, num_targets: Tensor, *, deviation: float, shape: tuple[int, int]
) -> Tensor:
    """Return log weights that draw the attention to the diagonal: -(t - u T / U)^2 / (2 d^2).

    Arguments
    ---------
    lengths : Tensor
        [B] encoder frames T of each utterance.
    num_targets : Tensor
        [B] target tokens U of each, end token included.
    deviation : float
        d, in encoder frames; > 0.
    shape : tuple[int, int]
        Padded U and T.

    Returns
    -------
    Tensor
        [B, U, T] float32.
    """
    steps = torch.arange(shape[0], device=lengths.device)[:, None]
    frames = torch.arange(shape[1], device=lengths.device)
    centre = steps * (lengths / num_targets)[:, None, None]
    return -(frames - centre).square() / (2 * deviation**2)


def replace_at_random(tokens: Tensor, *, share: float, num_tokens: int) -> Tensor:
    """Return tokens of which a share is replaced by random ones, never by the last (the end).

    Arguments
    ---------
    tokens : Tensor
        int64, any shape.
    share : float
        Probability of each to be replaced, 0 to 1.
    num_tokens : int
        V.

    Returns
    -------
    Tensor
        Of the same shape.
    """
    drawn = torch.randint(num_tokens - 1, tokens.shape, device=tokens.device)
    return torch.where(torch.rand(tokens.shape, device=tokens.device) < share, drawn, tokens)


@torch.no_grad()
def greedy_search(
    decoder: AttentionDecoder, encoded: Tensor, lengths: Tensor, *, max_tokens: int
) -> list[list[int]]:
    """Return the best token of each step until the end token, which is left out.

    Arguments
    ---------
    decoder : AttentionDecoder
        Not wrapped.
    encoded : Tensor
        [B, T, 2 H].
    lengths : Tensor
        [B] int64.
    max_tokens : int
        Steps at most.

    Returns
    -------
    list of list of int
        B token sequences.
    """
    state = decoder.initial_state(encoded, lengths)
    tokens = torch.full_like(lengths, decoder.start_index)
    is_open = torch.ones_like(tokens, dtype=torch.bool)
    steps = []
    for _ in range(max_tokens):
        logp, state, _ = decoder.step(tokens, state)
        tokens = logp.argmax(-1).masked_fill(~is_open, decoder.end_index)
        steps.append(tokens)
        is_open = is_open & (tokens != decoder.end_index)
        if not is_open.any():
            break
    rows = torch.stack(steps, dim=1).tolist()
    return [row[: [*row, decoder.end_index].index(decoder.end_index)] for row in rows]


def smoothed_loss(
    logits: Tensor, targets: Tensor, num_targets: Tensor, *, smoothing: float, on_padding: bool
) -> Tensor:
    """Return the cross-entropy of each utterance, summed over its tokens.

    (1 - e) sum_u -log p(y_u) - (e / V) sum_u sum_c log p_u(c), e being the smoothing.

    Arguments
    ---------
    logits : Tensor
        [B, U, V].
    targets : Tensor
        [B, U] int64, padded with the end token.
    num_targets : Tensor
        [B] int64.
    smoothing : float
        e.
    on_padding : bool
        True: padded places count too, as in wav2letter.

    Returns
    -------
    Tensor
        [B] float32.
    """
    losses = F.cross_entropy(
        logits.float().transpose(1, 2), targets, reduction="none", label_smoothing=smoothing
    )
    if not on_padding:
        losses = losses.masked_fill(padding_mask(num_targets, targets), 0)
    return losses.sum(1)
