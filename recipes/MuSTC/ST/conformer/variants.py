"""The parts of the model that a word of the YAML chooses."""

from typing import Literal

from torch import nn

from recipes.MuSTC.ST.conformer.blocks import ConformerBlock
from recipes.MuSTC.ST.conformer.compression import CTCCompression
from recipes.MuSTC.ST.conformer.source_blocks import SourceBlock

BLOCKS: dict[str, type[nn.Module]] = {"conformer": ConformerBlock, "source": SourceBlock}


def new_block(
    *,
    kind: Literal["conformer", "source"],
    d_model: int,
    num_heads: int,
    d_ffn: int,
    kernel: int,
    dropout: float,
) -> nn.Module:
    """Return a new encoder block.

    Arguments
    ---------
    kind : Literal["conformer", "source"]
        ``conformer``: `blocks.ConformerBlock`; ``source``: `source_blocks.SourceBlock`.
    d_model : int
        Size of a vector.
    num_heads : int
        Attention heads.
    d_ffn : int
        Inner size of the feed-forward parts.
    kernel : int
        Of the depthwise convolution; odd.
    dropout : float
        After every part.

    Returns
    -------
    nn.Module
        The block.

    Raises
    ------
    ValueError
        If sizes do not fit to each other.
    """
    if kind not in BLOCKS or d_model % num_heads or d_model % 2 or kernel % 2 == 0:
        raise ValueError(
            f"block: kind {kind!r}, d_model {d_model}, num_heads {num_heads}, kernel {kernel}; "
            f"expected a kind of {list(BLOCKS)}, an even d_model that the heads divide, and an odd "
            "kernel."
        )
    sizes = {"d_model": d_model, "num_heads": num_heads, "d_ffn": d_ffn, "kernel": kernel}
    return BLOCKS[kind](**sizes, dropout=dropout)


def new_compression(
    *,
    strategy: Literal["avg", "weighted", "softmax", "fixed", "identity"],
    max_runs: int | None = None,
    chunk_steps: int = 4,
) -> CTCCompression | None:
    """Return a new compression, None for "identity"; see `compression.CTCCompression`."""
    if strategy == "identity":
        return None
    return CTCCompression(strategy=strategy, max_runs=max_runs, chunk_steps=chunk_steps)
