"""From frames of 10 ms to steps of 40 ms: two strided convolutions that see no padding."""

import torch
from torch import Tensor, nn

from recipes.common.lengths import padding_mask


class Subsampler(nn.Module):
    """Two times Conv1d (kernel 5, stride 2) and a gated linear unit; [B, T, F] to [B, T / 4, D].

    The length after each is ceil(length / 2). Padding is zeroed between the convolutions, so that
    an utterance gives the same alone and in any batch, whatever its length.

    Arguments
    ---------
    num_mels : int
        F.
    middle_size : int
        Channels of the first convolution before its gate.
    d_model : int
        D.
    kernel : int
        Odd.
    """

    def __init__(self, *, num_mels: int, middle_size: int, d_model: int, kernel: int = 5) -> None:
        super().__init__()
        sizes = [(num_mels, middle_size), (middle_size // 2, 2 * d_model)]
        self.convs = nn.ModuleList(
            nn.Conv1d(inside, outside, kernel, stride=2, padding=kernel // 2)
            for inside, outside in sizes
        )

    def forward(self, feats: Tensor, num_frames: Tensor) -> tuple[Tensor, Tensor]:
        """Return the steps and how many each utterance has.

        Arguments
        ---------
        feats : Tensor
            [B, T, F]; what lies beyond an utterance is taken as zero.
        num_frames : Tensor
            [B] int64.

        Returns
        -------
        tuple[Tensor, Tensor]
            [B, ceil(T / 4), D], zeros beyond each utterance; [B] int64.
        """
        x = _without_padding(feats, num_frames).transpose(1, 2)  # [B, F, T]
        for conv in self.convs:
            x = nn.functional.glu(conv(x), dim=1)
            num_frames = torch.div(num_frames + 1, 2, rounding_mode="floor")
            x = _without_padding(x.transpose(1, 2), num_frames).transpose(1, 2)
        return x.transpose(1, 2), num_frames


def _without_padding(x: Tensor, num_frames: Tensor) -> Tensor:
    return x.masked_fill(padding_mask(num_frames, x)[..., None], 0.0)
