"""The Conformer block of FBK's published systems, for those who need its numbers.

As in S. Papi et al., "When Good and Reproducible Results are a Giant with Feet of Clay" (2023,
https://arxiv.org/abs/2303.16166), all three padding faults mended: biases on queries, keys and
values; BatchNorm in the convolution module; relative positions that are those of Transformer-XL
for the past only. There a row of scores is shifted so that key j of query i reads position
L - 1 - (i - j) for j <= i; what follows the query reads zero once, and then the next query's row.
The shift takes each utterance's own length L, or results would depend on padding.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recipes.MuSTC.ST.conformer.blocks import init_linears
from recipes.MuSTC.ST.conformer.positions import sinusoids


class SourceAttention(nn.Module):
    """Self-attention with content bias u and position bias v (Dai et al. 2019, section 3.3).

    Scores are divided by the root of the model's size, not of a head's.

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
        self.num_heads, self.scale = num_heads, 1 / math.sqrt(d_model)
        self.query = nn.Linear(d_model, d_model)
        self.key = nn.Linear(d_model, d_model)
        self.value = nn.Linear(d_model, d_model)
        self.out = nn.Linear(d_model, d_model)
        self.position = nn.Linear(d_model, d_model, bias=False)
        self.content_bias = nn.Parameter(torch.empty(num_heads, d_model // num_heads))
        self.position_bias = nn.Parameter(torch.empty(num_heads, d_model // num_heads))
        nn.init.xavier_uniform_(self.content_bias)
        nn.init.xavier_uniform_(self.position_bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, pads: Tensor, positions: Tensor) -> Tensor:
        """Return [B, T, D]; arguments as in :class:`SourceBlock`."""
        query, key, value = (self._heads(part(x)) for part in (self.query, self.key, self.value))
        position = self._heads(self.position(positions))  # [1, H, T, d]
        by_content = (query + self.content_bias[:, None]) @ key.transpose(2, 3)  # [B, H, T, T]
        by_position = (query + self.position_bias[:, None]) @ position.transpose(2, 3)
        scores = by_content + shifted(by_position, (~pads).sum(1))
        weights = (scores.float() * self.scale).masked_fill(pads[:, None, None], -math.inf)
        mixed = self.dropout(weights.softmax(-1)).to(value.dtype) @ value  # [B, H, T, d]
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.num_heads, -1)).transpose(1, 2)


def shifted(scores: Tensor, lengths: Tensor) -> Tensor:
    """Return scores of positions as scores of keys, each utterance by its own length.

    A row of L scores gets a zero before it; the L x (L + 1) values, read on in rows of L from the
    second such row, are the result.

    Arguments
    ---------
    scores : Tensor
        [B, H, T, T]: of query i and position p.
    lengths : Tensor
        [B] int64, L.

    Returns
    -------
    Tensor
        [B, H, T, T]: of query i and key j, both below L; beyond, of no meaning.
    """
    size = scores.shape[-1]
    places = torch.arange(size, device=scores.device)
    length = lengths[:, None, None]
    flat = length + places[:, None] * length + places  # [B, T, T]
    row = torch.div(flat, length + 1, rounding_mode="floor").clamp(max=size - 1)
    column = (flat % (length + 1)).clamp(max=size)
    padded = F.pad(scores, (1, 0)).flatten(2)  # [B, H, T * (T + 1)]
    index = (row * (size + 1) + column).flatten(1)[:, None]
    return padded.gather(2, index.expand(-1, scores.shape[1], -1)).view_as(scores)


class SourceConvolution(nn.Module):
    """Pointwise, gate, depthwise convolution, BatchNorm, SiLU, pointwise; pads are zeroed."""

    def __init__(self, *, d_model: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(d_model)
        self.expand = nn.Conv1d(d_model, 2 * d_model, 1)
        self.depthwise = nn.Conv1d(
            d_model, d_model, kernel, padding=kernel // 2, groups=d_model, bias=False
        )
        self.batch_norm = nn.BatchNorm1d(d_model)
        self.contract = nn.Conv1d(d_model, d_model, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, pads: Tensor) -> Tensor:
        """Return [B, T, D] of [B, T, D]; pads [B, T] is True beyond an utterance."""
        mask = pads[:, None]  # [B, 1, T]
        x = F.glu(self.expand(self.norm(x).transpose(1, 2)), dim=1)
        x = self.depthwise(x.masked_fill(mask, 0.0)).masked_fill(mask, 0.0)
        x = self.batch_norm(x).masked_fill(mask, 0.0)
        x = self.contract(F.silu(x)).masked_fill(mask, 0.0)
        return self.dropout(x).transpose(1, 2)


class SourceBlock(nn.Module):
    """FBK's block; the interface is that of `blocks.ConformerBlock`.

    BatchNorm's statistics in training count padding as zeros, as in the original.

    Arguments
    ---------
    d_model : int
        D.
    num_heads : int
        Attention heads.
    d_ffn : int
        Inner size of the feed-forward parts.
    kernel : int
        Of the depthwise convolution; odd.
    dropout : float
        After every part.
    """

    def __init__(
        self, *, d_model: int, num_heads: int, d_ffn: int, kernel: int, dropout: float
    ) -> None:
        super().__init__()
        self.first_ffn = _feed_forward(d_model, d_ffn, dropout)
        self.attention_norm = nn.LayerNorm(d_model)
        self.attention = SourceAttention(d_model=d_model, num_heads=num_heads, dropout=dropout)
        self.attention_dropout = nn.Dropout(dropout)
        self.convolution = SourceConvolution(d_model=d_model, kernel=kernel, dropout=dropout)
        self.second_ffn = _feed_forward(d_model, d_ffn, dropout)
        self.norm = nn.LayerNorm(d_model)
        init_linears(self)

    @staticmethod
    def positions(num_frames: int, like: Tensor) -> Tensor:
        """Return [1, T, D], what `forward` takes for sequences of T steps."""
        places = torch.arange(num_frames, device=like.device)
        return sinusoids(places, like.shape[-1])[None].to(like.dtype)

    def forward(self, x: Tensor, pads: Tensor, positions: Tensor) -> Tensor:
        """Return [B, T, D].

        Arguments
        ---------
        x : Tensor
            [B, T, D].
        pads : Tensor
            [B, T] bool, True beyond an utterance; each utterance has at least one step.
        positions : Tensor
            From `positions`.

        Returns
        -------
        Tensor
            What lies beyond an utterance is of no meaning.
        """
        x = x + 0.5 * self.first_ffn(x)
        attended = self.attention(self.attention_norm(x), pads, positions)
        x = x + self.attention_dropout(attended)
        x = x + self.convolution(x, pads)
        return self.norm(x + 0.5 * self.second_ffn(x))


def _feed_forward(d_model: int, d_ffn: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.LayerNorm(d_model),
        nn.Linear(d_model, d_ffn),
        nn.SiLU(),
        nn.Dropout(dropout),
        nn.Linear(d_ffn, d_model),
        nn.Dropout(dropout),
    )
