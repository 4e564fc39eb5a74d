"""SpeechBrain's Conformer block with the one mask that it lacks.

Gulati et al. 2020, https://arxiv.org/abs/2005.08100. SpeechBrain's convolution module masks only
its output: the depthwise convolution reads 15 steps of padding at the end of an utterance, so that
the same utterance gives another result in another batch. A mask before it ends that.
"""

from speechbrain.lobes.models.transformer.Conformer import (
    ConformerEncoderLayer,
    ConvolutionModule,
)
from torch import Tensor, nn

from recipes.MuSTC.ST.conformer.positions import distances, sinusoids


class MaskedConvolution(ConvolutionModule):
    """SpeechBrain's convolution module, blind to padding."""

    def forward(self, x: Tensor, mask: Tensor | None = None, **unused: object) -> Tensor:
        """Return [B, T, D].

        Arguments
        ---------
        x : Tensor
            [B, T, D].
        mask : Tensor | None
            [B, T, 1] bool, True beyond an utterance.
        **unused : object
            SpeechBrain's options of streaming.

        Returns
        -------
        Tensor
            Zeros where the mask is True.
        """
        out = self.bottleneck(self.layer_norm(x).transpose(1, 2))  # [B, D, T]
        if mask is not None:
            out = out.masked_fill(mask.transpose(1, 2), 0.0)
        out = self.after_conv(self.conv(out).transpose(1, 2))
        return out if mask is None else out.masked_fill(mask, 0.0)


class ConformerBlock(nn.Module):
    """Half feed-forward, self-attention with relative positions, convolution, half feed-forward.

    LayerNorm in the convolution module, as SpeechBrain has it: nothing runs over a batch, so it
    trains alike on one device, under DDP, and asynchronously.

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
        self.layer = ConformerEncoderLayer(
            d_model=d_model,
            d_ffn=d_ffn,
            nhead=num_heads,
            kernel_size=kernel,
            dropout=dropout,
            attention_type="RelPosMHAXL",
        )
        self.layer.convolution_module = MaskedConvolution(d_model, kernel, dropout=dropout)
        init_linears(self.layer)

    @staticmethod
    def positions(num_frames: int, like: Tensor) -> Tensor:
        """Return [1, 2 T - 1, D], what `forward` takes for sequences of T steps."""
        table = sinusoids(distances(num_frames, like.device), like.shape[-1])
        return table[None].to(like.dtype)

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
        out: Tensor = self.layer(x, src_key_padding_mask=pads, pos_embs=positions)[0]
        return out


def init_linears(block: nn.Module) -> None:
    """Draw the weights of all linear layers by Xavier's rule; their biases are zero."""
    for module in block.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
