"""Augmentation of the benchmark: SpecAugment with adaptive widths, speed drawn for each utterance.

SpecAugment: D. Park et al. 2019, https://arxiv.org/abs/1904.08779; widths of the time masks
grow with the utterance as in Park et al. 2020, https://arxiv.org/abs/1912.05533.

Axes: B utterances, S samples, M mel bands, T frames, K masks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
import torchaudio
from torch import Tensor

from data_prepare.draws import keyed_percents, text_keys


class Masks(NamedTuple):
    """Uniform numbers in [0, 1) that decide the masks, float64.

    Arguments
    ---------
    freq_width, freq_start : Tensor, Tensor
        [B, K].
    time_width, time_start : Tensor, Tensor
        [B, K'].
    """

    freq_width: Tensor
    freq_start: Tensor
    time_width: Tensor
    time_start: Tensor


class SpecAugment:
    """Masks bands and stretches of frames with zeros, which are the mean of normalised features.

    Widths are whole numbers, uniform from 0 to their maximum, both included; a band mask starts
    where it fits, a time mask anywhere in the padded length where it fits.

    Arguments
    ---------
    freq_masks : int
        Masks of neighbouring bands.
    freq_width : int
        Widest of these, in bands.
    time_masks : int
        Masks of neighbouring frames.
    time_share : float
        Widest of these, as a share of the utterance's own frames, rounded.
    is_looped : bool
        True: mask by mask with the host's numbers, as the benchmark's reference does.
    """

    def __init__(
        self,
        *,
        freq_masks: int = 2,
        freq_width: int = 20,
        time_masks: int = 10,
        time_share: float = 0.03,
        is_looped: bool = False,
    ) -> None:
        self.freq_masks, self.freq_width = freq_masks, freq_width
        self.time_masks, self.time_share = time_masks, time_share
        self.is_looped = is_looped

    def __call__(self, mels: Tensor, num_frames: Tensor) -> Tensor:
        """Return masked features [B, M, T]."""
        draws = self.draw(len(mels), mels.device)
        how = self.looped if self.is_looped else self.vectorised
        return how(mels, num_frames, draws)

    def draw(self, batch: int, device: torch.device) -> Masks:
        """Draw the numbers of a batch."""
        sizes = (self.freq_masks, self.freq_masks, self.time_masks, self.time_masks)
        numbers = torch.rand(batch, sum(sizes), dtype=torch.float64, device=device)
        return Masks(*numbers.split(sizes, dim=1))

    def vectorised(self, mels: Tensor, num_frames: Tensor, draws: Masks) -> Tensor:
        """Return masked features, all masks at once, nothing read from the device."""
        _, num_mels, length = mels.shape
        widest = (num_frames * self.time_share).round()[:, None]
        bands = _covered(draws.freq_width, draws.freq_start, self.freq_width, num_mels)
        frames = _covered(draws.time_width, draws.time_start, widest, length)
        return mels.masked_fill(bands[:, :, None] | frames[:, None, :], 0.0)

    def looped(self, mels: Tensor, num_frames: Tensor, draws: Masks) -> Tensor:
        """Return masked features, mask by mask."""
        mels = mels.clone()
        _, num_mels, length = mels.shape
        for number in range(len(mels)):
            own = Masks(*(part[number].cpu() for part in draws))
            widest = round(float(num_frames[number]) * self.time_share)
            for wide, start in zip(own.freq_width.tolist(), own.freq_start.tolist(), strict=True):
                first, last = _interval(wide, start, self.freq_width, num_mels)
                mels[number, first:last] = 0.0
            for wide, start in zip(own.time_width.tolist(), own.time_start.tolist(), strict=True):
                first, last = _interval(wide, start, widest, length)
                mels[number, :, first:last] = 0.0
        return mels


def _covered(wide: Tensor, start: Tensor, widest: Tensor | int, size: int) -> Tensor:
    """Return [B, size] bool, True where any mask lies."""
    width = torch.floor(wide * (widest + 1)).clamp(max=size)
    first = torch.floor(start * (size - width + 1))
    place = torch.arange(size, device=wide.device)
    inside = (place >= first[..., None]) & (place < (first + width)[..., None])
    return inside.any(1)


def _interval(wide: float, start: float, widest: int, size: int) -> tuple[int, int]:
    width = min(math.floor(wide * (widest + 1)), size)
    first = math.floor(start * (size - width + 1))
    return first, first + width


class SpeedPerturb:
    """Resamples each utterance by a factor of its own, which is then taken for 16 kHz again.

    The factor is a function of (seed, pass, id): the loader that sorts a batch by its lengths
    knows it beforehand, and it is the same for any number of ranks or after a resume. It is drawn
    uniformly and rounded to a grid of hundredths, since a filter bank for any other factor takes
    seconds and gigabytes. A factor below 1 is faster and higher speech.

    Arguments
    ---------
    bounds : tuple[float, float]
        Smallest and largest factor.
    seed : int
        Of the factors.
    """

    def __init__(self, bounds: tuple[float, float] = (0.85, 1.15), *, seed: int = 0) -> None:
        lowest, highest = bounds
        if not 0.1 <= lowest <= highest <= 10.0:
            raise ValueError(
                f"SpeedPerturb: bounds {lowest}, {highest}; expected two numbers, the smaller one "
                "first, within [0.1, 10]."
            )
        self.bounds, self.seed = (lowest, highest), seed

    def percents(self, ids: Sequence[str], pass_number: int) -> list[int]:
        """Return the factor of each utterance in percent."""
        found: list[int] = keyed_percents(
            text_keys(ids),
            bounds=self.bounds,
            seed=self.seed,
            pass_number=pass_number,
        ).tolist()
        return found

    def __call__(
        self, wavs: Tensor, num_samples: Sequence[int], percents: Sequence[int]
    ) -> tuple[Tensor, list[int]]:
        """Resample a batch.

        Arguments
        ---------
        wavs : Tensor
            [B, S].
        num_samples : Sequence[int]
            Lengths, on the host.
        percents : Sequence[int]
            Factors.

        Returns
        -------
        tuple[Tensor, list[int]]
            [B, S'], zeros behind, and the lengths: ceil(factor * length).
        """
        with torch.autocast(wavs.device.type, enabled=False):
            return self._stretched(wavs, num_samples, percents)

    def _stretched(
        self, wavs: Tensor, num_samples: Sequence[int], percents: Sequence[int]
    ) -> tuple[Tensor, list[int]]:
        lengths = [-(-num * p // 100) for num, p in zip(num_samples, percents, strict=True)]
        out = wavs.new_zeros(len(wavs), max(lengths))
        for percent in sorted(set(percents)):
            group = [place for place, p in enumerate(percents) if p == percent]
            size = max(num_samples[place] for place in group)
            index = torch.tensor(group).to(wavs.device, non_blocking=True)
            part = resample(wavs.index_select(0, index)[:, :size], percent)
            kept = torch.tensor([lengths[place] for place in group]).to(
                wavs.device, non_blocking=True
            )
            beyond = torch.arange(part.shape[1], device=wavs.device) >= kept[:, None]
            room = out[:, : part.shape[1]]
            room.index_copy_(0, index, part.masked_fill(beyond, 0.0)[:, : room.shape[1]])
        return out, lengths


@lru_cache(maxsize=128)
def _resampler(percent: int, device: str) -> torchaudio.transforms.Resample:
    made = torchaudio.transforms.Resample(100, percent, lowpass_filter_width=16)
    moved: torchaudio.transforms.Resample = made.to(device)
    return moved


def resample(wavs: Tensor, percent: int) -> Tensor:
    """Return [B, ceil(S * percent / 100)] by a windowed sinc of 16 lobes; filters are kept."""
    if percent == 100:
        return wavs
    out: Tensor = _resampler(percent, str(wavs.device))(wavs)
    return out
