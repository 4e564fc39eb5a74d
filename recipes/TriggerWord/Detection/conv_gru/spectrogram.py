"""Power spectrogram of the original: short windows, no padding, density scale.

It equals `matplotlib.mlab.psd` of 16-bit samples with a symmetric Hann window. For a frame x of N
samples and the window w

    P[k] = c_k |sum_n w[n] x[n] exp(-2 pi i k n / N)|^2 / (fs sum_n w[n]^2)

with c_k = 2 but for the first bin and (N even) the last one, where it is 1. Axes: B clips, S
samples, T = 1 + (S - N) // hop frames, F = N // 2 + 1 bins.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

_FULL_SCALE = 32768.0
_FLOOR = 1e-10


class PowerSpectrogram(nn.Module):
    """Spectrogram of audio in [-1, 1), in float32 whatever autocast says.

    Raw power of loud clips goes far beyond what float16 can hold.

    Arguments
    ---------
    n_fft : int
        N: window and transform, samples.
    hop : int
        Samples between two frames.
    scale : Literal["raw", "log"]
        "raw": power; "log": log10(power + 1e-10).
    density_rate_hz : float
        fs of the formula. The original gives 8,000 for audio of 44,100 Hz: a factor, no more.

    Raises
    ------
    ValueError
        If a number is not positive.
    """

    window: Tensor

    def __init__(
        self,
        *,
        n_fft: int = 200,
        hop: int = 80,
        scale: Literal["raw", "log"] = "log",
        density_rate_hz: float = 8000.0,
    ) -> None:
        super().__init__()
        if min(n_fft - 1, hop, density_rate_hz) <= 0:
            raise ValueError(
                f"spectrogram: n_fft {n_fft}, hop {hop}, density_rate_hz {density_rate_hz}; "
                "expected more than 1, 0 and 0; correct these."
            )
        self.n_fft, self.hop, self.scale = n_fft, hop, scale
        self.density_rate_hz = density_rate_hz
        window = torch.hann_window(n_fft, periodic=False, dtype=torch.float64)
        self.register_buffer("window", window, persistent=False)

    @property
    def num_bins(self) -> int:
        """F."""
        return self.n_fft // 2 + 1

    def num_frames(self, num_samples: int) -> int:
        """Return the frames T of some samples; 0 for fewer than a window."""
        return max(0, 1 + (num_samples - self.n_fft) // self.hop)

    def forward(self, wavs: Tensor) -> Tensor:
        """Return features [B, T, F], float32 (float64 for audio in float64), of audio [B, S]."""
        with torch.autocast(wavs.device.type, enabled=False):
            power = self.power(wavs if wavs.dtype == torch.float64 else wavs.float())
            return power if self.scale == "raw" else torch.log10(power + _FLOOR)

    def power(self, wavs: Tensor) -> Tensor:
        """Return the power [B, T, F] of audio [B, S]."""
        window = self.window.to(wavs.dtype)
        frames = (wavs * _FULL_SCALE).unfold(1, self.n_fft, self.hop)  # [B, T, N]
        spectrum = torch.fft.rfft(frames * window)
        power = spectrum.abs().square() / (self.density_rate_hz * window.square().sum())
        last = self.num_bins - 1 if self.n_fft % 2 == 0 else self.num_bins
        inner = torch.arange(self.num_bins, device=wavs.device)
        return torch.where((inner > 0) & (inner < last), 2.0 * power, power)


class Unchanged(nn.Module):
    """Stands where features are normalised, and leaves them as they are."""

    def forward(self, feats: Tensor, lengths: Any = None, epoch: int | None = None) -> Tensor:
        """Return the features."""
        return feats
