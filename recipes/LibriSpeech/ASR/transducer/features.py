"""The benchmark's front end, for a whole padded batch on its device.

Silence is cut off at both ends; dither; pre-emphasis; power spectrogram; 80 mel bands of Slaney's
scale; logarithm; mean and variance of each band of each utterance; after SpecAugment three frames
are spliced into one. Equal to NVIDIA DALI's operators as the benchmark uses them: the window is
sampled between the samples, the spectrogram reflects at both ends of each utterance, variances are
divided by the number of frames.

Nothing here waits for the device: lengths after the silence was cut stay there, the shapes follow
from the lengths before.

Axes: B utterances, S samples, M mel bands, T frames (10 ms), N spliced frames (30 ms), F features.
"""

import math
from typing import NamedTuple

import torch
import torchaudio
from torch import Tensor, nn

WINDOW_SAMPLES, HOP_SAMPLES, N_FFT = 320, 160, 512
SILENCE_SAMPLES = 2048
"""Length of the moving mean of the squared signal by which silence is found."""
LOG_FLOOR = 1e-20
PREEMPHASIS = 0.97


class Features(NamedTuple):
    """Features of a batch.

    Arguments
    ---------
    mels : Tensor
        [B, M, T] logarithms of mel energies; spliced: [N, B, F].
    num_frames : Tensor
        [B] int64.
    """

    mels: Tensor
    num_frames: Tensor


class FrontEnd(nn.Module):
    """From waveforms to normalised log-mel features; no parameters, buffers not saved.

    Arguments
    ---------
    num_mels : int
        M.
    rate_hz : int
        Sampling rate.
    trim_db : float | None
        Level, below the loudest part of an utterance, of the silence that is cut off; None: none
        is cut.
    dither : float
        Standard deviation of the noise added to each sample.
    """

    window: Tensor
    bands: Tensor

    def __init__(
        self,
        *,
        num_mels: int = 80,
        rate_hz: int = 16000,
        trim_db: float | None = -60.0,
        dither: float = 1e-5,
    ) -> None:
        super().__init__()
        self.trim_db, self.dither = trim_db, dither
        self.register_buffer("window", centred_hann(WINDOW_SAMPLES), persistent=False)
        bands = torchaudio.functional.melscale_fbanks(
            N_FFT // 2 + 1, 0.0, rate_hz / 2, num_mels, rate_hz, norm="slaney", mel_scale="slaney"
        )
        self.register_buffer("bands", bands.t().contiguous(), persistent=False)  # [M, bins]

    @torch.no_grad()
    def forward(self, wavs: Tensor, num_samples: Tensor) -> Features:
        """Return the features of a batch.

        Arguments
        ---------
        wavs : Tensor
            [B, S] float32 in [-1, 1].
        num_samples : Tensor
            [B] int64, at least 1.

        Returns
        -------
        Features
            With T = 1 + S // 160.
        """
        with torch.autocast(wavs.device.type, enabled=False):
            wavs = wavs.float()
            if self.trim_db is not None:
                wavs, num_samples = trim_silence(wavs, num_samples, level_db=self.trim_db)
            if self.dither > 0.0:
                wavs = wavs + self.dither * self._noise(wavs)
            mels, num_frames = self.log_mels(wavs, num_samples)
            return Features(normalise(mels, num_frames), num_frames)

    def log_mels(self, wavs: Tensor, num_samples: Tensor) -> Features:
        """Return logarithms of mel energies, pre-emphasis included; arguments as of `forward`."""
        valid = _mask(num_samples, wavs.shape[1])
        wavs = emphasise(wavs).masked_fill(~valid, 0.0)
        power = self._power(reflect(wavs, num_samples))  # [B, bins, T]
        mels = torch.matmul(self.bands, power).clamp_(min=LOG_FLOOR).log_()
        return Features(mels, 1 + torch.div(num_samples, HOP_SAMPLES, rounding_mode="floor"))

    def _noise(self, wavs: Tensor) -> Tensor:
        # In evaluation the same each time, and nothing is taken from the training's stream.
        generator = None
        if not self.training:
            generator = torch.Generator(wavs.device).manual_seed(0)
        return torch.randn(wavs.shape, generator=generator, device=wavs.device)

    def _power(self, padded: Tensor) -> Tensor:
        spectrum = torch.stft(
            padded,
            N_FFT,
            hop_length=HOP_SAMPLES,
            win_length=WINDOW_SAMPLES,
            window=self.window,
            center=False,
            return_complex=True,
        )
        return spectrum.real.square() + spectrum.imag.square()


def centred_hann(num_samples: int) -> Tensor:
    """Return Hann's window sampled at the middles: 0.5 (1 - cos(2 pi (n + 0.5) / N))."""
    place = torch.arange(num_samples, dtype=torch.float64) + 0.5
    return (0.5 * (1.0 - torch.cos(2.0 * math.pi * place / num_samples))).float()


def emphasise(wavs: Tensor) -> Tensor:
    """Return y[t] = x[t] - 0.97 x[t - 1], and y[0] = 0.03 x[0]."""
    before = torch.cat([wavs[:, :1], wavs[:, :-1]], 1)
    return wavs - PREEMPHASIS * before


def trim_silence(wavs: Tensor, num_samples: Tensor, *, level_db: float) -> tuple[Tensor, Tensor]:
    """Cut silence off at both ends of each utterance.

    The mean of the squared signal over the last 2048 samples, relative to its own maximum, is
    compared with the level; what lies from 2047 samples before the first place at or above it to
    the last one is kept.

    Arguments
    ---------
    wavs : Tensor
        [B, S].
    num_samples : Tensor
        [B] int64.
    level_db : float
        Below 0.

    Returns
    -------
    tuple[Tensor, Tensor]
        [B, S], zeros behind, and [B] int64, at least 1.
    """
    valid = _mask(num_samples, wavs.shape[1])
    wavs = wavs.masked_fill(~valid, 0.0)
    # In float64, since -60 dB of a mean is lost in the rounding of a long float32 sum.
    sums = wavs.double().square().cumsum(1)
    power = sums - nn.functional.pad(sums, (SILENCE_SAMPLES, 0))[:, : wavs.shape[1]]
    power = power.clamp_(min=0.0).masked_fill_(~valid, -1.0)
    loudest = power.amax(1, keepdim=True)
    is_loud = (power >= loudest * 10.0 ** (level_db / 10.0)) & valid
    place = torch.arange(wavs.shape[1], device=wavs.device)
    first = torch.where(is_loud, place, wavs.shape[1]).amin(1)
    last = torch.where(is_loud, place, -1).amax(1)
    begin = (first - (SILENCE_SAMPLES - 1)).clamp(min=0)
    length = (last + 1 - begin).clamp(min=1)
    moved = wavs.gather(1, (begin[:, None] + place).clamp(max=wavs.shape[1] - 1))
    return moved.masked_fill(place >= length[:, None], 0.0), length


def reflect(wavs: Tensor, num_samples: Tensor) -> Tensor:
    """Return [B, S + 512]: 256 samples mirrored before each utterance's start and behind its end.

    Utterances shorter than 257 samples repeat their border where the mirror has no more.
    """
    half = N_FFT // 2
    last = num_samples[:, None] - 1
    ramp = torch.arange(1, half + 1, device=wavs.device)
    head = wavs.gather(1, torch.minimum(ramp.flip(0).expand(len(wavs), -1), last))
    tail = wavs.gather(1, (last - ramp).clamp(min=0))  # x[n - 2], x[n - 3], ...
    padded = nn.functional.pad(wavs, (half, half))
    padded[:, :half] = head
    return padded.scatter(1, half + last + ramp, tail)


def normalise(mels: Tensor, num_frames: Tensor) -> Tensor:
    """Return each band of each utterance with mean 0 and variance 1 over its frames, else zeros.

    The variance is divided by the number of frames. A band that never changes becomes 0.
    """
    valid = _mask(num_frames, mels.shape[2])[:, None]
    count = num_frames[:, None, None]
    mean = mels.masked_fill(~valid, 0.0).sum(2, keepdim=True) / count
    centred = (mels - mean).masked_fill(~valid, 0.0)
    variance = centred.square().sum(2, keepdim=True) / count
    return centred * torch.where(variance > 0.0, variance.rsqrt(), 0.0)


def splice(mels: Tensor, num_frames: Tensor, *, factor: int = 3, in_feats: int = 240) -> Features:
    """Join every `factor` frames into one, time first.

    Arguments
    ---------
    mels : Tensor
        [B, M, T], zeros beyond the lengths.
    num_frames : Tensor
        [B] int64.
    factor : int
        Frames joined.
    in_feats : int
        F, at least factor * M; the rest are zeros.

    Returns
    -------
    Features
        [N, B, F] with N = ceil(T / factor), and [B] int64 ceil(num_frames / factor).
    """
    batch, num_mels, length = mels.shape
    x = nn.functional.pad(mels, (0, -length % factor))
    x = x.reshape(batch, num_mels, -1, factor).permute(2, 0, 3, 1)  # [N, B, factor, M]
    x = x.reshape(x.shape[0], batch, factor * num_mels)
    if in_feats > x.shape[2]:
        x = nn.functional.pad(x, (0, in_feats - x.shape[2]))
    num_spliced = torch.div(num_frames + factor - 1, factor, rounding_mode="floor")
    return Features(x.contiguous(), num_spliced)


def host_frames(num_samples: list[int], *, factor: int = 3) -> list[int]:
    """Return spliced frames of utterances of so many samples: what the host knows beforehand."""
    return [-(-(1 + num // HOP_SAMPLES) // factor) for num in num_samples]


def _mask(lengths: Tensor, size: int) -> Tensor:
    """Return [B, size] bool, True within the lengths."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]
