"""A gated convolutional language model with bottleneck blocks.

Y. Dauphin, A. Fan, M. Auli, D. Grangier, "Language Modeling with Gated Convolutional Networks",
ICML 2017, https://arxiv.org/abs/1612.08083, in the form that the decoders of wav2letter were
published with: every convolution is causal, weight-normalised and followed by a gate; a shortcut
over `reach` layers (projected where widths differ) is added and the sum scaled by sqrt(0.5). As a
convolution sees a bounded past, a search keeps for each history the last inputs of every layer.

Axes: N batch, T words, C channels, W vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize, skip_init

State = tuple[Tensor, ...]
DIV_VALUE = 4.0
"""Each cluster of rarer words has a projection so many times narrower than the one before."""


class ConvLM(torch.nn.Module):
    """Gated convolutional language model.

    Arguments
    ---------
    num_words : int
        W.
    layers : Sequence[Sequence[int]]
        Channels, kernel, and reach of the shortcut (0: none) of each layer.
    embedding_size : int
        Of a word at the input.
    out_size : int | None
        Of the last hidden layer, after the convolutions; None: there is none.
    dropout : float
        On embeddings, before every convolution, and on the last hidden layer.
    cutoffs : Sequence[int] | None
        Bounds of the clusters of an adaptive softmax, for words in order of frequency; None: a
        plain softmax.
    padding : int
        Number that stands for no word among the targets.

    Raises
    ------
    ValueError
        If a shortcut reaches back before the first layer.
    """

    def __init__(
        self,
        num_words: int,
        layers: Sequence[Sequence[int]],
        *,
        embedding_size: int,
        out_size: int | None,
        dropout: float = 0.1,
        cutoffs: Sequence[int] | None = None,
        padding: int = 1,
    ) -> None:
        super().__init__()
        self.num_words, self.dropout, self.padding = num_words, dropout, padding
        self.embedding = torch.nn.Embedding(num_words, embedding_size)
        torch.nn.init.normal_(self.embedding.weight, std=0.1)
        widths = [int(layers[0][0])]
        self.first = _linear(embedding_size, widths[0], dropout)
        self.layers = torch.nn.ModuleList()
        for number, (channels, kernel, reach) in enumerate(layers):
            if not 0 <= reach <= len(widths):
                raise ValueError(
                    f"ConvLM: layer {number} has reach {reach}; expected 0 to {len(widths)}."
                )
            shortcut = widths[-reach] if reach else None
            self.layers.append(
                _Layer(widths[-1], channels, kernel=kernel, shortcut=shortcut, dropout=dropout)
            )
            widths.append(channels)
        self.reaches = [int(reach) for _, _, reach in layers]
        self.hidden = None if out_size is None else _linear(widths[-1], out_size, dropout)
        width = out_size or widths[-1]
        self.out: torch.nn.Module
        if cutoffs is None:
            self.out = _linear(width, num_words, dropout)
        else:
            self.out = torch.nn.AdaptiveLogSoftmaxWithLoss(
                width, num_words, list(cutoffs), div_value=DIV_VALUE
            )

    @property
    def context_words(self) -> int:
        """Words before the next one that its score depends on."""
        return 1 + sum(layer.kernel - 1 for layer in self._layers())

    def forward(self, words: Tensor, targets: Tensor) -> Tensor:
        """Return -ln p of every target that is no padding.

        Arguments
        ---------
        words : Tensor
            [N, T] int64.
        targets : Tensor
            [N, T] int64, the word after each; `padding` where there is none.

        Returns
        -------
        Tensor
            [K] float32, the targets row by row.
        """
        history = [self._embedded(words)]  # [N, C, T]
        for layer, reach in zip(self._layers(), self.reaches, strict=True):
            padded = F.pad(layer.dropped(history[-1]), (layer.kernel - 1, 0))
            history.append(layer(padded, history[-reach] if reach else None))
        is_word = targets != self.padding
        hidden = self._hidden(history[-1].transpose(1, 2)[is_word])  # [K, out_size]
        with torch.autocast(hidden.device.type, enabled=False):
            if isinstance(self.out, torch.nn.AdaptiveLogSoftmaxWithLoss):
                found: Tensor = -self.out(_fine(hidden), targets[is_word]).output
                # A cluster without a target among these is left out: its parameters would get no
                # gradient, for which DDP waits.
                unused = [p.flatten()[:1].sum() for p in self.out.tail.parameters()]
                return found + 0.0 * torch.stack(unused).sum()
            return F.cross_entropy(self.out(_fine(hidden)), targets[is_word], reduction="none")

    def log_probs(self, hidden: Tensor) -> Tensor:
        """Return ln p of every word, [K, W] float32, from [K, out_size]."""
        with torch.autocast(hidden.device.type, enabled=False):
            if isinstance(self.out, torch.nn.AdaptiveLogSoftmaxWithLoss):
                found: Tensor = self.out.log_prob(_fine(hidden))
                return found
            scores: Tensor = self.out(_fine(hidden))
            return scores.log_softmax(-1)

    def initial_state(self, batch: int) -> State:
        """Return the state before the first word: the padding of a history's start.

        Arguments
        ---------
        batch : int
            Histories.

        Returns
        -------
        State
            [N, C, kernel - 1] for each layer.
        """
        like = self.embedding.weight
        return tuple(
            like.new_zeros(batch, layer.channels_in, layer.kernel - 1) for layer in self._layers()
        )

    def step(self, words: Tensor, state: State) -> tuple[Tensor, State]:
        """Return ln p of the next word after one word more; for evaluation.

        Arguments
        ---------
        words : Tensor
            [N] int64.
        state : State
            After the words before.

        Returns
        -------
        tuple[Tensor, State]
            [N, W] float32, and the state.
        """
        history = [self._embedded(words[:, None])]
        after = []
        for layer, reach, past in zip(self._layers(), self.reaches, state, strict=True):
            window = torch.cat([past, history[-1]], dim=2)  # [N, C, kernel]
            after.append(window[:, :, 1:])
            history.append(layer(window, history[-reach] if reach else None))
        return self.log_probs(self._hidden(history[-1].transpose(1, 2))[:, 0]), tuple(after)

    def fold(self) -> ConvLM:
        """Replace the normalised weights by plain ones: for searches, not for training."""
        for module in list(self.modules()):
            if parametrize.is_parametrized(module):
                parametrize.remove_parametrizations(module, "weight")
        return self

    def _layers(self) -> list[_Layer]:
        return [layer for layer in self.layers if isinstance(layer, _Layer)]

    def _embedded(self, words: Tensor) -> Tensor:
        embedded = F.dropout(self.embedding(words), self.dropout, self.training)
        first: Tensor = self.first(embedded)
        return first.transpose(1, 2)

    def _hidden(self, last: Tensor) -> Tensor:
        hidden = last if self.hidden is None else self.hidden(last)
        return F.dropout(hidden, self.dropout, self.training)


class _Layer(torch.nn.Module):
    """Convolution, gate, shortcut."""

    def __init__(
        self, channels_in: int, channels: int, *, kernel: int, shortcut: int | None, dropout: float
    ) -> None:
        super().__init__()
        self.channels_in, self.kernel, self.dropout = channels_in, kernel, dropout
        conv = _empty(torch.nn.Conv1d, channels_in, 2 * channels, kernel)
        deviation = math.sqrt(4 * (1 - dropout) / (kernel * channels_in))
        torch.nn.init.normal_(conv.weight, std=deviation)
        torch.nn.init.zeros_(conv.bias)
        self.conv = parametrizations.weight_norm(conv, dim=0)
        is_equal = shortcut is None or shortcut == channels
        self.projection = None if is_equal else _linear(int(shortcut or 0), channels, 0.0)

    def dropped(self, x: Tensor) -> Tensor:
        """Return the input with dropout; an input of a search has none."""
        return F.dropout(x, self.dropout, self.training)

    def forward(self, padded: Tensor, shortcut: Tensor | None) -> Tensor:
        """Return [N, C', T] from [N, C, T + kernel - 1], and what the shortcut brings."""
        gated: Tensor = F.glu(self.conv(padded), dim=1)
        if shortcut is None:
            return gated
        if self.projection is not None:
            shortcut = self.projection(shortcut.transpose(1, 2)).transpose(1, 2)
        total: Tensor = (gated + shortcut) * math.sqrt(0.5)
        return total


def _linear(size_in: int, size_out: int, dropout: float) -> torch.nn.Module:
    linear = _empty(torch.nn.Linear, size_in, size_out)
    torch.nn.init.normal_(linear.weight, std=math.sqrt((1 - dropout) / size_in))
    torch.nn.init.zeros_(linear.bias)
    module: torch.nn.Module = parametrizations.weight_norm(linear, dim=0)
    return module


def _empty(kind: type[torch.nn.Module], *sizes: int) -> Any:
    """Return a module whose parameters are still to be set: large ones take seconds."""
    return skip_init(kind, *sizes, device=torch.get_default_device())


def _fine(hidden: Tensor) -> Tensor:
    """Return float32 in place of half precision; float64 stays."""
    return hidden if hidden.dtype == torch.float64 else hidden.float()
