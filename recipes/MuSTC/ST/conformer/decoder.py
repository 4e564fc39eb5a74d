"""Transformer decoder: all tokens at once in training, one by one with caches in a search.

Pre-norm layers (Vaswani et al. 2017; Xiong et al. 2020). In a search the keys and values of the
encoder are computed once for each utterance, those of the tokens once for each token.

Axes: B utterances or hypotheses, U tokens, R encoder steps, D vector, V tokens of the target.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recipes.common.lengths import padding_mask
from recipes.MuSTC.ST.conformer.positions import sinusoids

KeysValues = tuple[Tensor, Tensor]
"""Two of [B, H, length, D / H]."""


class Attention(nn.Module):
    """Multi-head attention whose keys and values may be kept.

    Arguments
    ---------
    d_model : int
        D.
    num_heads : int
        H.
    dropout : float
        Of the weights.
    """

    def __init__(self, *, d_model: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        self.query = nn.Linear(d_model, d_model)
        self.key = nn.Linear(d_model, d_model)
        self.value = nn.Linear(d_model, d_model)
        self.out = nn.Linear(d_model, d_model)

    def keys_values(self, x: Tensor) -> KeysValues:
        """Return the keys and values of [B, length, D]."""
        return self._heads(self.key(x)), self._heads(self.value(x))

    def forward(
        self, x: Tensor, kept: KeysValues, *, mask: Tensor | None = None, is_causal: bool = False
    ) -> Tensor:
        """Return [B, U, D].

        Arguments
        ---------
        x : Tensor
            [B, U, D].
        kept : KeysValues
            What is attended to.
        mask : Tensor | None
            [B, 1, 1, length] bool, True where it may be attended to.
        is_causal : bool
            Whether place u sees places up to u only.

        Returns
        -------
        Tensor
            The mixtures, projected.
        """
        mixed = F.scaled_dot_product_attention(
            self._heads(self.query(x)),
            *kept,
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=is_causal,
        )
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.num_heads, -1)).transpose(1, 2)


class DecoderLayer(nn.Module):
    """Attention to the tokens before, attention to the encoder, feed-forward.

    Arguments
    ---------
    d_model : int
        D.
    num_heads : int
        Attention heads.
    d_ffn : int
        Inner size of the feed-forward part.
    dropout : float
        After every part, and of the attention weights.
    """

    def __init__(self, *, d_model: int, num_heads: int, d_ffn: int, dropout: float) -> None:
        super().__init__()
        attention = partial(Attention, d_model=d_model, num_heads=num_heads, dropout=dropout)
        self.self_norm = nn.LayerNorm(d_model)
        self.self_attention = attention()
        self.cross_norm = nn.LayerNorm(d_model)
        self.cross_attention = attention()
        self.ffn_norm = nn.LayerNorm(d_model)
        self.ffn = nn.Sequential(
            nn.Linear(d_model, d_ffn), nn.ReLU(), nn.Dropout(dropout), nn.Linear(d_ffn, d_model)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, memory: KeysValues, mask: Tensor, past: KeysValues | None = None
    ) -> tuple[Tensor, KeysValues]:
        """Return [B, U, D], and the keys and values of the tokens up to now.

        Arguments
        ---------
        x : Tensor
            [B, U, D]; U is 1 where there is a past.
        memory : KeysValues
            Of the encoder.
        mask : Tensor
            [B, 1, 1, R] bool, True within an utterance.
        past : KeysValues | None
            Of the tokens before.

        Returns
        -------
        tuple[Tensor, KeysValues]
            Output, and what the next call takes as its past.
        """
        normed = self.self_norm(x)
        own = self.self_attention.keys_values(normed)
        if past is not None:
            own = (torch.cat([past[0], own[0]], dim=2), torch.cat([past[1], own[1]], dim=2))
        x = x + self.dropout(self.self_attention(normed, own, is_causal=past is None))
        x = x + self.dropout(self.cross_attention(self.cross_norm(x), memory, mask=mask))
        return x + self.dropout(self.ffn(self.ffn_norm(x))), own


@dataclass
class DecoderState:
    """Where a search stands.

    Arguments
    ---------
    memory : list of KeysValues
        Of the encoder, for each layer.
    mask : Tensor
        [B, 1, 1, R] bool.
    past : list of KeysValues or None
        Of the tokens up to now, for each layer.
    num_tokens : int
        Tokens up to now.
    """

    memory: list[KeysValues]
    mask: Tensor
    past: list[KeysValues] | None = None
    num_tokens: int = 0

    def select(self, rows: Tensor, *, with_memory: bool = True) -> "DecoderState":
        """Return the state of some hypotheses, in the order given.

        Arguments
        ---------
        rows : Tensor
            [B'] int64 places in B; one may come several times.
        with_memory : bool
            False where every row stays with its utterance: then the encoder's part is as it was.

        Returns
        -------
        DecoderState
            A new state; the tensors are copies.
        """
        memory = [_rows(pair, rows) for pair in self.memory] if with_memory else self.memory
        mask = self.mask[rows] if with_memory else self.mask
        past = None if self.past is None else [_rows(pair, rows) for pair in self.past]
        return DecoderState(memory, mask, past, self.num_tokens)


class Decoder(nn.Module):
    """Embedding with sinusoids, layers, norm, output; embedding and output are not tied.

    Arguments
    ---------
    num_tokens : int
        V.
    num_layers : int
        Layers.
    d_model : int
        D.
    num_heads : int
        Attention heads.
    d_ffn : int
        Inner size of the feed-forward parts.
    dropout : float
        Everywhere.
    pad_index : int
        Its embedding is 0 and stays so.
    """

    def __init__(
        self,
        *,
        num_tokens: int,
        num_layers: int,
        d_model: int,
        num_heads: int,
        d_ffn: int,
        dropout: float,
        pad_index: int = 0,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_tokens, d_model, padding_idx=pad_index)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            DecoderLayer(d_model=d_model, num_heads=num_heads, d_ffn=d_ffn, dropout=dropout)
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(d_model)
        self.head = nn.Linear(d_model, num_tokens, bias=False)
        self.scale = d_model**0.5
        self._initialise(d_model, pad_index)

    def _initialise(self, d_model: int, pad_index: int) -> None:
        for module in self.layers.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        for weight in (self.embedding.weight, self.head.weight):
            nn.init.normal_(weight, std=d_model**-0.5)
        with torch.no_grad():
            self.embedding.weight[pad_index] = 0.0

    def forward(self, tokens: Tensor, states: Tensor, lengths: Tensor) -> Tensor:
        """Return the logits of each next token.

        Arguments
        ---------
        tokens : Tensor
            [B, U] int64, beginning with the start; padding on the right.
        states : Tensor
            [B, R, D] of the encoder.
        lengths : Tensor
            [B] int64.

        Returns
        -------
        Tensor
            [B, U, V].
        """
        state = self.start(states, lengths)
        x = self._embed(tokens, first=0)
        for layer, memory in zip(self.layers, state.memory, strict=True):
            x, _ = layer(x, memory, state.mask)
        logits: Tensor = self.head(self.norm(x))
        return logits

    def start(self, states: Tensor, lengths: Tensor) -> DecoderState:
        """Return the state of a search before its first token; arguments as in `forward`."""
        layers: Iterable[Any] = self.layers
        memory = [layer.cross_attention.keys_values(states) for layer in layers]
        mask = ~padding_mask(lengths, states)[:, None, None]  # [B, 1, 1, R]
        return DecoderState(memory, mask)

    def step(self, tokens: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Take one token of each hypothesis further.

        Arguments
        ---------
        tokens : Tensor
            [B] int64.
        state : DecoderState
            From `start` or the step before.

        Returns
        -------
        tuple[Tensor, DecoderState]
            [B, V] logits, and the state after the token.
        """
        x, past = self._embed(tokens[:, None], first=state.num_tokens), []
        for number, (layer, memory) in enumerate(zip(self.layers, state.memory, strict=True)):
            x, kept = layer(
                x, memory, state.mask, None if state.past is None else state.past[number]
            )
            past.append(kept)
        after = DecoderState(state.memory, state.mask, past, state.num_tokens + 1)
        return self.head(self.norm(x))[:, 0], after

    def _embed(self, tokens: Tensor, *, first: int) -> Tensor:
        places = torch.arange(first, first + tokens.shape[1], device=tokens.device)
        x: Tensor = self.embedding(tokens) * self.scale
        return self.dropout(x + sinusoids(places, x.shape[-1]).to(x.dtype))


def _rows(pair: KeysValues, rows: Tensor) -> KeysValues:
    return pair[0][rows], pair[1][rows]
