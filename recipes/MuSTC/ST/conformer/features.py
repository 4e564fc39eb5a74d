"""Kaldi filter banks, per-utterance normalisation and SpecAugment, exact under padding.

Every function takes whole-number lengths; what lies beyond an utterance changes nothing in it.
Axes: B utterances, S samples, T frames, F bins.
"""

import torch
from speechbrain.utils.autocast import fwd_default_precision
from torch import Tensor, nn
from torchaudio.compliance.kaldi import get_mel_banks

from recipes.common.lengths import padding_mask

FULL_SCALE = 32768.0  # Kaldi's samples are 16-bit numbers
PRE_EMPHASIS = 0.97
WINDOW_POWER = 0.85  # of the Hann window: Kaldi calls it povey
MIN_FREQ_HZ = 20.0


class FilterBanks(nn.Module):
    """Log-mel energies as Kaldi computes them, then each utterance to mean 0 and variance 1.

    25 ms windows every 10 ms, only whole ones, no dither; the same as
    ``torchaudio.compliance.kaldi.fbank`` of each utterance alone, for a batch at once.

    Arguments
    ---------
    rate_hz : int
        Sampling rate.
    num_mels : int
        F, bins.
    window_ms : int
        Length of a window.
    shift_ms : int
        From one window to the next.
    variance_floor : float
        Least variance of a bin; silence stays finite.
    """

    window: Tensor
    banks: Tensor

    def __init__(
        self,
        *,
        rate_hz: int = 16000,
        num_mels: int = 80,
        window_ms: int = 25,
        shift_ms: int = 10,
        variance_floor: float = 1e-10,
    ) -> None:
        super().__init__()
        self.window_samples = rate_hz * window_ms // 1000
        self.shift_samples = rate_hz * shift_ms // 1000
        self.variance_floor = variance_floor
        self.fft_size = 1 << (self.window_samples - 1).bit_length()
        hann = torch.hann_window(self.window_samples, periodic=False, dtype=torch.float64)
        self.register_buffer("window", hann.pow(WINDOW_POWER).float(), persistent=False)
        banks, _ = get_mel_banks(num_mels, self.fft_size, rate_hz, MIN_FREQ_HZ, 0.0, 100, -500, 1.0)
        # The last Fourier coefficient belongs to no band.
        banks = nn.functional.pad(banks, (0, 1)).T.contiguous()
        self.register_buffer("banks", banks, persistent=False)  # [fft_size / 2 + 1, F]

    @fwd_default_precision(cast_inputs=torch.float32)
    @torch.no_grad()
    def forward(self, wavs: Tensor, num_samples: Tensor) -> tuple[Tensor, Tensor]:
        """Return normalised features and their lengths.

        Arguments
        ---------
        wavs : Tensor
            [B, S] float in [-1, 1].
        num_samples : Tensor
            [B] int64; on the CPU it costs no synchronisation of a GPU.

        Returns
        -------
        tuple[Tensor, Tensor]
            [B, T, F] float32, zeros beyond each utterance; [B] int64 frames.

        Raises
        ------
        ValueError
            If an utterance is shorter than one window.
        """
        if int(num_samples.min()) < self.window_samples:
            raise ValueError(
                f"features: an utterance has {int(num_samples.min())} samples; expected at least "
                f"one window of {self.window_samples}; raise min_utterance_s."
            )
        num_frames = 1 + (num_samples - self.window_samples) // self.shift_samples
        num_frames = num_frames.to(wavs.device)
        frames = wavs.unfold(1, self.window_samples, self.shift_samples)  # [B, T, window]
        return self._normalise(self._log_mel(frames), num_frames), num_frames

    def _log_mel(self, frames: Tensor) -> Tensor:
        frames = FULL_SCALE * frames
        frames = frames - frames.mean(-1, keepdim=True)
        before = torch.cat([frames[..., :1], frames[..., :-1]], dim=-1)
        frames = (frames - PRE_EMPHASIS * before) * self.window
        power = torch.fft.rfft(frames, n=self.fft_size).abs().square()
        return (power @ self.banks).clamp_min(torch.finfo(torch.float32).eps).log()

    def _normalise(self, feats: Tensor, num_frames: Tensor) -> Tensor:
        pads = padding_mask(num_frames, feats)[..., None]  # [B, T, 1]
        count = num_frames[:, None, None]
        mean = feats.masked_fill(pads, 0.0).sum(1, keepdim=True) / count
        feats = (feats - mean).masked_fill(pads, 0.0)
        variance = feats.square().sum(1, keepdim=True) / count
        return feats / variance.clamp_min(self.variance_floor).sqrt()


class SpecAugment(nn.Module):
    """Hides stripes of frequency and time of each utterance (Park et al. 2019, no warping).

    Masks are drawn for each utterance, within its own length; hidden places take the utterance's
    mean. Widths are uniform whole numbers below the bounds.

    Arguments
    ---------
    num_freq_masks : int
        Stripes of frequency.
    max_freq_bins : int
        Each hides fewer bins.
    num_time_masks : int
        Stripes of time.
    max_time_frames : int
        Each hides fewer frames.
    max_time_share : float
        The bound is no more than this share of the utterance, within (0, 1].
    """

    def __init__(
        self,
        *,
        num_freq_masks: int = 2,
        max_freq_bins: int = 27,
        num_time_masks: int = 2,
        max_time_frames: int = 100,
        max_time_share: float = 1.0,
    ) -> None:
        super().__init__()
        self.num_freq_masks, self.max_freq_bins = num_freq_masks, max_freq_bins
        self.num_time_masks, self.max_time_frames = num_time_masks, max_time_frames
        self.max_time_share = max_time_share

    @torch.no_grad()
    def forward(self, feats: Tensor, num_frames: Tensor) -> Tensor:
        """Return features with hidden stripes.

        Arguments
        ---------
        feats : Tensor
            [B, T, F], zeros beyond each utterance.
        num_frames : Tensor
            [B] int64.

        Returns
        -------
        Tensor
            [B, T, F]; a new tensor.
        """
        size, num_bins = feats.shape[1:]
        mean = feats.sum((1, 2), keepdim=True) / (num_frames[:, None, None] * num_bins)
        bins = torch.full_like(num_frames, num_bins)
        freq = stripes(bins, bins.clamp(max=self.max_freq_bins), self.num_freq_masks, size=num_bins)
        bound = (self.max_time_share * num_frames).floor().long().clamp(max=self.max_time_frames)
        time = stripes(num_frames, bound, self.num_time_masks, size=size)
        return torch.where(freq[:, None, :] | time[:, :, None], mean, feats).masked_fill(
            padding_mask(num_frames, feats)[..., None], 0.0
        )


def stripes(lengths: Tensor, bounds: Tensor, num_masks: int, *, size: int) -> Tensor:
    """Draw stripes within lengths.

    Arguments
    ---------
    lengths : Tensor
        [B] int64, places that there are.
    bounds : Tensor
        [B] int64; widths are uniform in 0 to bound - 1.
    num_masks : int
        Stripes of each row.
    size : int
        Longest length.

    Returns
    -------
    Tensor
        [B, size] bool, True in a stripe.
    """
    draws = torch.rand(2, len(lengths), num_masks, device=lengths.device)
    widths = (draws[0] * bounds[:, None]).long()  # [B, M]
    starts = (draws[1] * (lengths[:, None] - widths + 1)).long()
    places = torch.arange(size, device=lengths.device)
    inside = (places >= starts[..., None]) & (places < (starts + widths)[..., None])
    return inside.any(1)
