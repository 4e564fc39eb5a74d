"""Detection in a stream of audio: pieces of any length in, probabilities out, state carried on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from recipes.TriggerWord.Detection.conv_gru.model import ConvGruDetector, DetectorState
from recipes.TriggerWord.Detection.conv_gru.spectrogram import PowerSpectrogram


class StreamingDetector:
    """Feeds a detector as audio comes; together the pieces give what the whole clip gives.

    Samples that do not fill a window and frames that do not fill the kernel wait for the next
    piece; a step is out as soon as the audio that it needs is in.

    Arguments
    ---------
    spectrogram : PowerSpectrogram
        As in training.
    normalize : Any
        As in training; with statistics of its own (global), as those of a clip are not known before
        its end.
    detector : ConvGruDetector
        Trained; put into evaluation mode here.
    epoch : int
        For `normalize`: its statistics stay as they are in evaluation mode.

    Raises
    ------
    ValueError
        If features are normalised by the statistics of each clip.
    """

    def __init__(
        self,
        spectrogram: PowerSpectrogram,
        normalize: Any,
        detector: ConvGruDetector,
        *,
        epoch: int = 1,
    ) -> None:
        kind = getattr(normalize, "norm_type", "global")
        if kind != "global":
            raise ValueError(
                f"streaming: norm_type is {kind!r}, which needs the whole clip; expected global "
                "statistics; train with norm_type: global."
            )
        self._spectrogram, self._normalize = spectrogram.eval(), normalize.eval()
        self._detector, self._epoch = detector.eval(), epoch
        self.reset()

    def reset(self) -> None:
        """Begin a new stream."""
        self._samples: Tensor | None = None
        self._state: DetectorState | None = None

    @torch.no_grad()
    def feed(self, wavs: Tensor) -> Tensor:
        """Return the probabilities of the steps that are complete with the next piece.

        Arguments
        ---------
        wavs : Tensor
            [B, S] the next samples of B streams, in [-1, 1).

        Returns
        -------
        Tensor
            [B, T'] float32; T' may be 0.
        """
        samples = wavs if self._samples is None else torch.cat([self._samples, wavs], dim=1)
        num_frames = self._spectrogram.num_frames(samples.shape[1])
        self._samples = samples[:, num_frames * self._spectrogram.hop :]
        if not num_frames:
            return wavs.new_zeros(len(wavs), 0, dtype=torch.float32)
        feats = self._normalize(self._spectrogram(samples), epoch=self._epoch)
        logits, self._state = self._detector.stream(feats, self._state)
        return logits.float().sigmoid()
