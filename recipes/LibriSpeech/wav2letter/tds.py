"""Time-depth separable convolutions: the encoder of the sequence-to-sequence recipe.

A. Hannun, A. Lee, Q. Xu, R. Collobert, "Sequence-to-sequence speech recognition with time-depth
separable convolutions", 2019, https://arxiv.org/abs/1904.02619; the layers are those of
wav2letter's file at cfa7c40.

Axes: B utterances, C channels, T frames, W width (filters).
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from recipes.LibriSpeech.wav2letter.initial import init_modules

KERNEL = 21
STRIDE = 2
EPSILON = 1e-5


class UtteranceNorm(torch.nn.Module):
    """LayerNorm over time, width and channels of an utterance, with one gain and one bias.

    Computed in float32 over the utterance's own frames; padded frames come out as 0.

    Arguments
    ---------
    over_padding : bool
        True: statistics over all frames of the batch, padding included, and padded frames are not
        reset, as in wav2letter. An utterance's output then depends on its batch.
    """

    def __init__(self, *, over_padding: bool = False) -> None:
        super().__init__()
        self.over_padding = over_padding
        self.gain = torch.nn.Parameter(torch.ones(()))
        self.bias = torch.nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, is_valid: Tensor) -> Tensor:
        """Return [B, C, T, W] of the same, float32; ``is_valid`` is [B, 1, T, 1] bool."""
        with torch.autocast(x.device.type, enabled=False):
            x = x.float()
            if self.over_padding:
                is_valid = torch.ones_like(is_valid)
            num_values = is_valid.sum((1, 2, 3), keepdim=True) * (x.shape[1] * x.shape[3])
            mean = (x * is_valid).sum((1, 2, 3), keepdim=True) / num_values
            centred = (x - mean) * is_valid
            variance = centred.square().sum((1, 2, 3), keepdim=True) / num_values
            normed = centred * (variance + EPSILON).rsqrt()
            return (normed * self.gain + self.bias) * is_valid


class TDSBlock(torch.nn.Module):
    """x <- norm(x + conv over time); x <- norm(x + two linear layers over width and channels).

    Arguments
    ---------
    channels : int
        C.
    width : int
        W.
    dropout : float
        After each layer.
    over_padding : bool
        See `UtteranceNorm`.
    """

    def __init__(self, channels: int, width: int, *, dropout: float, over_padding: bool) -> None:
        super().__init__()
        size = channels * width
        self.dropout = dropout
        self.conv = torch.nn.Conv2d(channels, channels, (KERNEL, 1), padding=(KERNEL // 2, 0))
        self.first = torch.nn.Linear(size, size)
        self.second = torch.nn.Linear(size, size)
        self.conv_norm = UtteranceNorm(over_padding=over_padding)
        self.linear_norm = UtteranceNorm(over_padding=over_padding)

    def forward(self, x: Tensor, is_valid: Tensor) -> Tensor:
        """Return [B, C, T, W] of the same."""
        x = self.conv_norm(x + self._drop(F.relu(self.conv(x))), is_valid)
        batch, channels, frames, width = x.shape
        flat = x.permute(0, 2, 3, 1).reshape(batch, frames, width * channels)  # channel fastest
        flat = self._drop(self.second(self._drop(F.relu(self.first(flat)))))
        added = flat.view(batch, frames, width, channels).permute(0, 3, 1, 2)
        return self.linear_norm(x + added, is_valid)

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)


class TDSStage(torch.nn.Module):
    """A convolution that halves the frames, then blocks.

    Arguments
    ---------
    in_channels : int
        C of the input.
    channels : int
        C of the output.
    width : int
        W.
    num_blocks : int
        TDS blocks.
    dropout : float
        After each layer.
    over_padding : bool
        See `UtteranceNorm`.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        width: int,
        num_blocks: int,
        dropout: float,
        over_padding: bool,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.conv = torch.nn.Conv2d(
            in_channels, channels, (KERNEL, 1), stride=(STRIDE, 1), padding=(KERNEL // 2, 0)
        )
        self.norm = UtteranceNorm(over_padding=over_padding)
        self.blocks = torch.nn.ModuleList(
            TDSBlock(channels, width, dropout=dropout, over_padding=over_padding)
            for _ in range(num_blocks)
        )

    def forward(self, x: Tensor, num_frames: Tensor) -> tuple[Tensor, Tensor]:
        """Return [B, C, ceil(T / 2), W] and the frames of each utterance [B]."""
        x = F.dropout(F.relu(self.conv(x)), self.dropout, self.training)
        num_frames = (num_frames + STRIDE - 1).div(STRIDE, rounding_mode="floor")
        places = torch.arange(x.shape[2], device=x.device)
        is_valid = (places < num_frames[:, None])[:, None, :, None]  # [B, 1, T, 1]
        x = self.norm(x, is_valid)
        for block in self.blocks:
            x = block(x, is_valid)
        return x, num_frames


class TDSEncoder(torch.nn.Module):
    """Stages, then one linear layer.

    Arguments
    ---------
    width : int
        W, filters of the features.
    channels : Sequence[int]
        C of each stage.
    num_blocks : Sequence[int]
        Blocks of each stage.
    out_size : int
        Size of the output.
    dropout : float
        After each layer but the last.
    over_padding : bool
        See `UtteranceNorm`.
    """

    def __init__(
        self,
        *,
        width: int,
        channels: Sequence[int],
        num_blocks: Sequence[int],
        out_size: int,
        dropout: float,
        over_padding: bool = False,
    ) -> None:
        super().__init__()
        if len(channels) != len(num_blocks) or not channels:
            raise ValueError(
                f"tds: has {len(channels)} channels and {len(num_blocks)} num_blocks; expected one "
                "of each for every stage."
            )
        self.stages = torch.nn.ModuleList(
            TDSStage(
                before,
                after,
                width=width,
                num_blocks=blocks,
                dropout=dropout,
                over_padding=over_padding,
            )
            for before, after, blocks in zip([1, *channels], channels, num_blocks, strict=False)
        )
        self.out = torch.nn.Linear(channels[-1] * width, out_size)
        init_modules(self)

    def forward(self, feats: Tensor, num_frames: Tensor) -> tuple[Tensor, Tensor]:
        """Return the encoded utterances and their frames.

        Arguments
        ---------
        feats : Tensor
            [B, T, W], 0 at padded frames.
        num_frames : Tensor
            [B] int64.

        Returns
        -------
        tuple[Tensor, Tensor]
            [B, T', out_size] and [B] int64; T' is T halved once a stage, rounded up.
        """
        x = feats[:, None]  # [B, 1, T, W]
        for stage in self.stages:
            x, num_frames = stage(x, num_frames)
        batch, channels, frames, width = x.shape
        flat = x.transpose(1, 2).reshape(batch, frames, channels * width)  # width fastest
        return self.out(flat), num_frames
