"""Log-mel features of wav2letter ("mfsc"), normalised by one mean and one deviation.

A frame of 25 ms every 10 ms, none beyond the signal: T = 1 + floor((S - 400) / 160). Within a
frame: samples times 32768, pre-emphasis 0.97, Hamming window, magnitude (not power) of an FFT of
512 points, triangular filters on the HTK mel scale, floor 1, natural logarithm. Source: the feature
code of wav2letter, commit cfa7c40. SpeechBrain's Fbank is another feature: centred frames, power in
dB, no pre-emphasis.

Axes: B utterances, S samples, T frames, F filters.
"""

import torch
from torch import Tensor
from torch.nn import functional as F
from torchaudio.functional import melscale_fbanks

from recipes.common.lengths import absolute, padding_mask

RATE_HZ = 16000
FRAME_SAMPLES = 400
HOP_SAMPLES = 160
N_FFT = 512
PRE_EMPHASIS = 0.97
FULL_SCALE = 32768.0
FLOOR = 1.0
LEAST_DEVIATION = 1e-5  # of the features of silence


class Mfsc(torch.nn.Module):
    """Features of a batch; float32 whatever the precision of training.

    Arguments
    ---------
    num_filters : int
        F; 40 for letters, 80 for word pieces.
    norm_on_padding : bool
        True: mean and deviation are those of the padded signal, as in wav2letter; a short utterance
        then depends on its batch. False: those of its own frames, and padded frames are 0.
    """

    window: Tensor
    filters: Tensor

    def __init__(self, *, num_filters: int, norm_on_padding: bool = False) -> None:
        super().__init__()
        self.num_filters = num_filters
        self.norm_on_padding = norm_on_padding
        window = torch.hamming_window(FRAME_SAMPLES, periodic=False, dtype=torch.float64)
        filters = melscale_fbanks(
            N_FFT // 2 + 1, 0.0, RATE_HZ / 2, num_filters, RATE_HZ, norm=None, mel_scale="htk"
        )
        self.register_buffer("window", window.float(), persistent=False)
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, wavs: Tensor, wav_lens: Tensor) -> tuple[Tensor, Tensor]:
        """Return normalised features and the number of frames of each utterance.

        Arguments
        ---------
        wavs : Tensor
            [B, S] float32 in [-1, 1], 16 kHz, right-padded with zeros.
        wav_lens : Tensor
            [B] relative lengths.

        Returns
        -------
        tuple[Tensor, Tensor]
            [B, T, F] float32 and [B] int64, at least 1.
        """
        with torch.no_grad(), torch.autocast(wavs.device.type, enabled=False):
            feats = self.log_mel(wavs.float())
            num_frames = count_frames(absolute(wav_lens, wavs))
            return self.normalise(feats, num_frames), num_frames

    def log_mel(self, wavs: Tensor) -> Tensor:
        """Return [B, T, F], not normalised; 0 for silence."""
        if wavs.shape[1] < FRAME_SAMPLES:
            wavs = F.pad(wavs, (0, FRAME_SAMPLES - wavs.shape[1]))
        frames = (wavs * FULL_SCALE).unfold(1, FRAME_SAMPLES, HOP_SAMPLES)  # [B, T, 400]
        before = torch.cat([frames[..., :1], frames[..., :-1]], dim=-1)
        emphasised = (frames - PRE_EMPHASIS * before) * self.window
        magnitudes = torch.fft.rfft(emphasised, n=N_FFT).abs()  # [B, T, 257]
        return (magnitudes @ self.filters).clamp_min(FLOOR).log()

    def normalise(self, feats: Tensor, num_frames: Tensor) -> Tensor:
        """Return features of mean 0 and deviation 1 over frames and filters of each utterance."""
        is_padding = padding_mask(num_frames, feats)[..., None]  # [B, T, 1]
        if self.norm_on_padding:
            is_padding = torch.zeros_like(is_padding)
        num_values = (~is_padding).sum((1, 2), keepdim=True) * self.num_filters
        mean = feats.masked_fill(is_padding, 0).sum((1, 2), keepdim=True) / num_values
        centred = (feats - mean).masked_fill(is_padding, 0)
        variance = centred.square().sum((1, 2), keepdim=True) / num_values
        return centred / variance.sqrt().clamp_min(LEAST_DEVIATION)


def count_frames(num_samples: Tensor) -> Tensor:
    """Return [B] frames of signals of [B] samples; 1 for those shorter than a frame."""
    beyond = (num_samples - FRAME_SAMPLES).clamp_min(0)
    return 1 + beyond.div(HOP_SAMPLES, rounding_mode="floor")
