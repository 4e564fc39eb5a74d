"""Auto segmentation criterion (ASG): CTC without blank, with learned transitions, not normalised.

For emissions x [T, N] (raw scores), transitions g [N to, N from] and a target y of L tokens

    loss = s * (logsumexp over all paths - logsumexp over the paths that spell y),

the score of a path p being sum_t x[t, p_t] + sum_{t >= 1} g[p_t, p_{t-1}] (Collobert et al. 2016,
https://arxiv.org/abs/1609.03193, section 3.2). Of wav2letter's loss scales, s = 1 / sqrt(L) is what
the recipes use. In the first epoch the target is stretched to one token a frame ("LinSeg").

Axes: B utterances, T frames, N tokens, L target tokens.
"""

from typing import Literal

import torch
from torch import Tensor

from recipes.LibriSpeech.wav2letter.asg_paths import all_paths, path_score, target_paths

Scale = Literal["none", "target", "target_sqrt"]


class ASG(torch.nn.Module):
    """The criterion with its transitions, which are learned.

    Always leaves autocast: recursions are in float64, the loss in float32.

    Arguments
    ---------
    num_tokens : int
        N.
    transdiag : float
        Initial score of staying in a token; all other transitions are 0.
    scale : Scale
        s: 1 for "none", 1 / L for "target", 1 / sqrt(L) for "target_sqrt".
    use_lengths : bool
        False: every utterance has the frames of the longest, as in wav2letter.
    """

    def __init__(
        self,
        num_tokens: int,
        *,
        transdiag: float = 4.0,
        scale: Scale = "target_sqrt",
        use_lengths: bool = True,
    ) -> None:
        super().__init__()
        self.scale = scale
        self.use_lengths = use_lengths
        self.transitions = torch.nn.Parameter(transdiag * torch.eye(num_tokens))

    def forward(
        self,
        emissions: Tensor,
        num_frames: Tensor,
        targets: Tensor,
        num_targets: Tensor,
        is_linear: bool = False,
    ) -> Tensor:
        """Return the loss of each utterance.

        Arguments
        ---------
        emissions : Tensor
            [B, T, N] raw scores.
        num_frames : Tensor
            [B] int64, >= 1.
        targets : Tensor
            [B, L] int64, right-padded with any token; no two neighbours equal.
        num_targets : Tensor
            [B] int64, >= 1; targets longer than their frames are cut.
        is_linear : bool
            Whether the target is stretched evenly over the frames.

        Returns
        -------
        Tensor
            [B] float32 (float64 for float64 emissions), >= 0.
        """
        num_frames = self.used_frames(emissions, num_frames)
        with torch.autocast(emissions.device.type, enabled=False):
            num_targets = torch.minimum(num_targets, num_frames)
            full = all_paths(emissions, self.transitions, num_frames)
            if is_linear:
                path = stretch(targets, num_targets, num_frames, emissions.shape[1])
                aligned = path_score(emissions, self.transitions, path, num_frames)
                num_targets = num_frames
            else:
                aligned = target_paths(
                    emissions, self.transitions, targets, num_frames, num_targets
                )
            kind = torch.float64 if emissions.dtype == torch.float64 else torch.float32
            return ((full - aligned) * self._scales(num_targets)).to(kind)

    def used_frames(self, emissions: Tensor, num_frames: Tensor) -> Tensor:
        """Return [B] frames that count: each utterance's own, or those of the padded emissions."""
        return num_frames if self.use_lengths else torch.full_like(num_frames, emissions.shape[1])

    def _scales(self, num_targets: Tensor) -> Tensor:
        power = {"none": 0.0, "target": -1.0, "target_sqrt": -0.5}[self.scale]
        return num_targets.double() ** power


def stretch(targets: Tensor, num_targets: Tensor, num_frames: Tensor, length: int) -> Tensor:
    """Return [B, length] targets of one token a frame: y[floor(t * L / T)]; padding repeats."""
    frames = torch.arange(length, device=targets.device)
    places = (frames * num_targets[:, None]).div(num_frames[:, None], rounding_mode="floor")
    return targets.gather(1, torch.minimum(places, num_targets[:, None] - 1))
