"""The acoustic model of the letter recipes: gated convolutions with weight normalisation.

V. Liptchinsky, G. Synnaeve, R. Collobert, "Letter-based speech recognition with gated ConvNets",
2017, https://arxiv.org/abs/1712.09444; the layers are those of wav2letter's files at cfa7c40.

Axes: B utterances, T frames, F features, C channels, N tokens.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from recipes.LibriSpeech.wav2letter.initial import uniform_as_flashlight


class NormedConv(torch.nn.Module):
    """1-D convolution whose weight is g * v / |v|, one gain g an output channel.

    Salimans and Kingma 2016, https://arxiv.org/abs/1602.07868. The weight is computed in float32;
    autocast then casts it with the input.

    Arguments
    ---------
    in_channels : int
        C of the input.
    out_channels : int
        C of the output.
    kernel : int
        Frames.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        self.direction = torch.nn.Parameter(torch.empty(out_channels, in_channels, kernel))
        self.gain = torch.nn.Parameter(torch.empty(out_channels, 1, 1))
        self.bias = torch.nn.Parameter(torch.empty(out_channels))
        uniform_as_flashlight(self.direction, self.bias, fan_in=in_channels * kernel)
        with torch.no_grad():
            self.gain.copy_(self.direction.flatten(1).norm(dim=1)[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, C out, T - kernel + 1] of [B, C in, T]."""
        with torch.autocast(x.device.type, enabled=False):
            weight = torch._weight_norm(self.direction, self.gain, 0)
        return F.conv1d(x, weight, self.bias)


class ConvGLU(torch.nn.Module):
    """Convolutions over time, each followed by a gated linear unit and dropout; stride 1.

    All padding stands before the first layer, so that T frames give T outputs. Dropout grows from
    layer to layer.

    Arguments
    ---------
    num_features : int
        F.
    num_tokens : int
        N.
    channels : Sequence[int]
        Outputs of each convolution before its gate, which halves them; even.
    kernels : Sequence[int]
        Frames of each.
    hidden : int
        Outputs of the linear layer before its gate; even.
    dropout : float
        After the first gate.
    dropout_growth : float
        Factor from each layer to the next; the linear layer has that of the last convolution.

    Raises
    ------
    ValueError
        If the sizes do not fit together.
    """

    def __init__(
        self,
        *,
        num_features: int,
        num_tokens: int,
        channels: Sequence[int],
        kernels: Sequence[int],
        hidden: int,
        dropout: float,
        dropout_growth: float,
    ) -> None:
        super().__init__()
        _check(channels, kernels, hidden=hidden, last=dropout * dropout_growth ** len(channels[1:]))
        inputs = [num_features, *(size // 2 for size in channels)]
        sizes = zip(inputs, [*channels, hidden], [*kernels, 1], strict=True)
        self.layers = torch.nn.ModuleList(NormedConv(*size) for size in sizes)
        rates = [dropout * dropout_growth**place for place in range(len(channels))]
        self.dropouts = [*rates, rates[-1]]
        self.head = NormedConv(hidden // 2, num_tokens, 1)
        context = sum(kernel - 1 for kernel in kernels)
        self.padding = (context // 2, context - context // 2)

    def forward(self, feats: Tensor) -> Tensor:
        """Return scores of the tokens at each frame.

        Arguments
        ---------
        feats : Tensor
            [B, T, F], 0 at padded frames.

        Returns
        -------
        Tensor
            [B, T, N] raw scores.
        """
        x = F.pad(feats.transpose(1, 2), self.padding)  # [B, F, T + context]
        for layer, rate in zip(self.layers, self.dropouts, strict=True):
            x = F.dropout(F.glu(layer(x), dim=1), rate, self.training)
        return self.head(x).transpose(1, 2)


def _check(channels: Sequence[int], kernels: Sequence[int], *, hidden: int, last: float) -> None:
    faults = []
    if len(channels) != len(kernels) or not channels:
        faults.append(f"{len(channels)} channels and {len(kernels)} kernels; expected as many")
    if odd := [size for size in (*channels, hidden) if size % 2 or size < 2]:
        faults.append(f"sizes {odd} before a gate; expected even ones, as the gate halves them")
    if not last < 1:
        faults.append(f"dropout of the last layer {last:.3f}; expected below 1")
    if faults:
        raise ValueError("conv glu: " + "; ".join(faults) + ".")
