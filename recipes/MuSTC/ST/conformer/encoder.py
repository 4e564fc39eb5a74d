r"""Conformer encoder with a CTC head in the middle, whose symbols compress what follows.

    features -> subsampler (1 : 4) -> blocks 1 to K -> CTC head
                                                   \-> compression -> blocks K + 1 to N

Axes: B utterances, T frames, L steps of 40 ms, R runs, D vector, V source tokens and the blank.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from recipes.common.lengths import padding_mask
from recipes.MuSTC.ST.conformer.compression import CTCCompression
from recipes.MuSTC.ST.conformer.subsampler import Subsampler


class Encoded(NamedTuple):
    """What the encoder gives.

    Arguments
    ---------
    states : Tensor
        [B, R, D] of the last block, zeros beyond each utterance.
    lengths : Tensor
        [B] int64, R of each utterance.
    ctc_logits : Tensor
        [B, L, V] of block K, before any compression; float32 in every precision.
    ctc_lengths : Tensor
        [B] int64, L of each utterance: CTC must be given these, not the compressed ones.
    """

    states: Tensor
    lengths: Tensor
    ctc_logits: Tensor
    ctc_lengths: Tensor


class ConformerEncoder(nn.Module):
    """Encoder of `SpeechTranslation`; see the module.

    Arguments
    ---------
    make_block : Callable[[], nn.Module]
        Gives a new block, such as `blocks.ConformerBlock` or `source_blocks.SourceBlock`.
    num_blocks : int
        N.
    ctc_block : int
        K, from 1: the CTC head reads what this block gives.
    subsampler : Subsampler
        From features to steps.
    d_model : int
        D.
    num_ctc_outputs : int
        V.
    compression : CTCCompression | None
        None: steps stay as they are.
    dropout : float
        On the input of block 1.
    """

    def __init__(
        self,
        *,
        make_block: Callable[[], nn.Module],
        num_blocks: int,
        ctc_block: int,
        subsampler: Subsampler,
        d_model: int,
        num_ctc_outputs: int,
        compression: CTCCompression | None,
        dropout: float,
    ) -> None:
        super().__init__()
        if not 1 <= ctc_block <= num_blocks:
            raise ValueError(
                f"encoder: ctc_block is {ctc_block}; expected 1 to num_blocks = {num_blocks}."
            )
        self.subsampler = subsampler
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(make_block() for _ in range(num_blocks))
        self.ctc_head = nn.Linear(d_model, num_ctc_outputs)
        nn.init.xavier_uniform_(self.ctc_head.weight)
        nn.init.zeros_(self.ctc_head.bias)
        self.compression = compression
        self.ctc_block, self.scale = ctc_block, math.sqrt(d_model)

    def forward(self, feats: Tensor, num_frames: Tensor, compress: bool = True) -> Encoded:
        """Encode a batch.

        Arguments
        ---------
        feats : Tensor
            [B, T, F].
        num_frames : Tensor
            [B] int64.
        compress : bool
            False leaves the compression out.

        Returns
        -------
        Encoded
            States and CTC logits with their lengths.
        """
        x, steps = self.subsampler(feats, num_frames)
        x = self.dropout(x * self.scale)
        x = _run(list(self.blocks)[: self.ctc_block], x, steps)
        with torch.autocast(x.device.type, enabled=False):
            logits = self.ctc_head(x.float())  # rounded ones would have other maxima, other runs
        lengths = steps
        if compress and self.compression is not None:
            x, lengths = self.compression(x, logits, steps)
        x = _run(list(self.blocks)[self.ctc_block :], x, lengths)
        states = x.masked_fill(padding_mask(lengths, x)[..., None], 0.0)
        return Encoded(states, lengths, logits, steps)


def _run(blocks: Iterable[Any], x: Tensor, lengths: Tensor) -> Tensor:
    pads, positions = padding_mask(lengths, x), None
    for block in blocks:
        if positions is None:
            positions = block.positions(x.shape[1], x)
        x = block(x, pads, positions)
    return x
