"""A strided convolution and two GRU layers: one logit every few frames, causal, fit to stream.

The detector of the trigger-word exercise of the course "Sequence Models" (deeplearning.ai, 2018).
Axes: B clips, T feature frames, F bins, T' = (T - kernel) // stride + 1 output steps, C channels,
H units.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import torch
from speechbrain.utils.logger import get_logger
from torch import Tensor, nn
from torch.nn import functional as F

logger = get_logger(__name__)


@dataclass(frozen=True)
class DetectorState:
    """What the detector keeps between two pieces of a stream.

    Arguments
    ---------
    frames : Tensor
        [B, fewer than kernel, F] frames that wait for the next step of the convolution.
    hidden : tuple of Tensor
        [1, B, H] state of each GRU layer; empty before the first step.
    """

    frames: Tensor
    hidden: tuple[Tensor, ...] = ()


class ConvGruDetector(nn.Module):
    """Conv, norm, ReLU, dropout; twice GRU with dropout and norm; one logit a step.

    With the values given here it has 522,425 parameters: the 521,657 trained ones of the original
    in Keras, and 768 more, as PyTorch's GRU has two bias vectors. The reset gate is applied after
    the recurrent product, as cuDNN does it; Keras 2's GRU of the original applies it before, so
    its weights can not be loaded.

    Arguments
    ---------
    num_bins : int
        F.
    conv_channels : int
        C of the convolution, which has no padding.
    kernel : int
        Its width in frames.
    stride : int
        Frames between two output steps.
    gru_units : int
        H.
    dropout : float
        Share of values that are dropped.
    norm : Literal["batch", "layer"]
        "batch", or "layer", which keeps no statistics of the data.
    norm_momentum : float
        Share of the newest batch in the statistics of "batch".
    norm_eps : float
        Added to variances.
    initialisation : Literal["torch", "glorot"]
        "torch": PyTorch's own; "glorot": uniform after Glorot and Bengio 2010, recurrent matrices
        orthogonal, biases 0, as in Keras.
    initial_weights : str | None
        Checkpoint to start from: a run's `model.ckpt`; None: at random.

    Raises
    ------
    FileNotFoundError
        If the checkpoint is missing.
    ValueError
        If it holds other weights.
    """

    def __init__(  # noqa: PLR0913 - the numbers of a YAML block, all by keyword
        self,
        *,
        num_bins: int = 101,
        conv_channels: int = 196,
        kernel: int = 15,
        stride: int = 4,
        gru_units: int = 128,
        dropout: float = 0.2,
        norm: Literal["batch", "layer"] = "batch",
        norm_momentum: float = 0.1,
        norm_eps: float = 1e-3,
        initialisation: Literal["torch", "glorot"] = "torch",
        initial_weights: str | None = None,
    ) -> None:
        super().__init__()
        self.kernel, self.stride, self.dropout = kernel, stride, dropout

        def make_norm(size: int) -> nn.Module:
            if norm == "layer":
                return nn.LayerNorm(size, eps=norm_eps)
            return nn.BatchNorm1d(size, eps=norm_eps, momentum=norm_momentum)

        self.conv = nn.Conv1d(num_bins, conv_channels, kernel, stride)
        self.conv_norm = make_norm(conv_channels)
        self.gru_1 = nn.GRU(conv_channels, gru_units, batch_first=True)
        self.norm_1 = make_norm(gru_units)
        self.gru_2 = nn.GRU(gru_units, gru_units, batch_first=True)
        self.norm_2 = make_norm(gru_units)
        self.head = nn.Linear(gru_units, 1)
        if initialisation == "glorot":
            self.apply(glorot)
        if initial_weights is not None:
            load_weights(self, Path(initial_weights))

    def num_steps(self, num_frames: int) -> int:
        """Return the output steps T' of some feature frames; 0 for fewer than the kernel."""
        return max(0, (num_frames - self.kernel) // self.stride + 1)

    def forward(self, feats: Tensor) -> Tensor:
        """Return logits [B, T'] of whole clips [B, T, F]."""
        return self._steps(feats, ())[0]

    def stream(
        self, feats: Tensor, state: DetectorState | None = None
    ) -> tuple[Tensor, DetectorState]:
        """Return the logits of the next piece of a stream, as if the clip had come at once.

        Arguments
        ---------
        feats : Tensor
            [B, T, F] the next frames, as many as there are.
        state : DetectorState | None
            What the last call returned; None at the start.

        Returns
        -------
        tuple[Tensor, DetectorState]
            [B, T'] logits of the steps that are complete, perhaps none; the state.
        """
        frames = feats if state is None else torch.cat([state.frames, feats], dim=1)
        hidden = () if state is None else state.hidden
        num = self.num_steps(frames.shape[1])
        if not num:
            return feats.new_zeros(len(feats), 0), DetectorState(frames, hidden)
        logits, hidden = self._steps(frames, hidden)
        return logits, DetectorState(frames[:, num * self.stride :], hidden)

    def _steps(
        self, feats: Tensor, hidden: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        first, second = hidden or (None, None)
        found = self.conv(feats.transpose(1, 2)).transpose(1, 2)  # [B, T', C]
        found = self._drop(F.relu(normalise(found, self.conv_norm)))
        found, first = run_gru(self.gru_1, found, first)  # [B, T', H]
        found = normalise(self._drop(found), self.norm_1)
        found, second = run_gru(self.gru_2, found, second)
        found = self._drop(normalise(self._drop(found), self.norm_2))
        return self.head(found).squeeze(-1), (first, second)

    def _drop(self, values: Tensor) -> Tensor:
        return F.dropout(values, self.dropout, self.training)


def normalise(values: Tensor, norm: nn.Module) -> Tensor:
    """Normalise [B, T', C] by channel (BatchNorm, also a synchronised one) or by step."""
    if isinstance(norm, nn.LayerNorm):
        return norm(values)
    normed: Tensor = norm(values.transpose(1, 2))
    return normed.transpose(1, 2)


def run_gru(gru: nn.GRU, values: Tensor, hidden: Tensor | None) -> tuple[Tensor, Tensor]:
    """Run a GRU in the precision of autocast, or in float32 where there is no such kernel.

    Arguments
    ---------
    gru : nn.GRU
        One layer, batch first.
    values : Tensor
        [B, T', C].
    hidden : Tensor | None
        [1, B, H]; None: zeros.

    Returns
    -------
    tuple[Tensor, Tensor]
        [B, T', H], and [1, B, H] after the last step.
    """
    device = values.device.type
    is_half = torch.is_autocast_enabled(device)
    if is_half and not gru_runs_in(torch.get_autocast_dtype(device), device):
        with torch.autocast(device, enabled=False):
            return gru(values.float(), None if hidden is None else hidden.float())
    return gru(values, None if hidden is None else hidden.to(values.dtype))


@cache
def gru_runs_in(dtype: torch.dtype, device: str) -> bool:
    """Try whether a GRU runs under autocast; some builds of PyTorch lack bfloat16 kernels."""
    gru = nn.GRU(2, 2, batch_first=True).to(device)
    try:
        with torch.autocast(device, dtype=dtype), torch.no_grad():
            gru(torch.zeros(1, 2, 2, device=device, dtype=dtype))
    except RuntimeError as error:
        if "not implemented" not in str(error):
            raise
        logger.warning("GRU layers run in float32: %s has none in %s (%s).", device, dtype, error)
        return False
    return True


def glorot(module: nn.Module) -> None:
    """Initialise a convolution, linear or GRU layer as Keras does."""
    if isinstance(module, nn.Conv1d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.GRU):
        for name, param in module.named_parameters():
            if "bias" in name:
                nn.init.zeros_(param)
                continue
            # The matrices of the three gates lie below each other: fans as of the whole in Keras.
            if "hh" in name:
                nn.init.orthogonal_(param)
            else:
                nn.init.xavier_uniform_(param)


def load_weights(detector: ConvGruDetector, path: Path) -> None:
    """Give a detector the weights of a run's checkpoint; an error if they are others."""
    if not path.is_file():
        raise FileNotFoundError(
            f"initial_weights: no file {path}; expected model.ckpt of a checkpoint; mend the path."
        )
    state = torch.load(path, map_location="cpu", weights_only=True)
    own = {name.removeprefix("detector."): value for name, value in state.items()}
    try:
        detector.load_state_dict({k: v for k, v in own.items() if k in detector.state_dict()})
    except RuntimeError as error:
        raise ValueError(f"initial_weights: {path} is of another detector: {error}") from error
