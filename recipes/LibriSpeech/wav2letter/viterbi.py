"""The best path under ASG: emissions and transitions, maximum in place of the sum.

Axes: B utterances, T frames, N tokens.
"""

import torch
from torch import Tensor


def viterbi(emissions: Tensor, num_frames: Tensor, transitions: Tensor) -> list[list[int]]:
    """Return the path of the highest score of each utterance.

    Arguments
    ---------
    emissions : Tensor
        [B, T, N] raw scores; only the frames of each utterance count.
    num_frames : Tensor
        [B] int64, >= 1.
    transitions : Tensor
        [N to, N from].

    Returns
    -------
    list of list of int
        B paths, one token a frame.
    """
    x, g = emissions.detach().float(), transitions.detach().float()
    best = x[:, 0]  # [B, N]
    stay = torch.arange(x.shape[2], device=x.device).expand_as(best)
    origins = []
    for t in range(1, x.shape[1]):
        arriving, origin = (best[:, None] + g).max(-1)  # [B, N]
        is_inside = (t < num_frames)[:, None]
        best = torch.where(is_inside, arriving + x[:, t], best)
        origins.append(torch.where(is_inside, origin, stay))
    token = best.argmax(-1)  # [B]
    path = [token]
    for origin in reversed(origins):
        token = origin.gather(1, token[:, None]).squeeze(1)
        path.append(token)
    rows = torch.stack(path[::-1], dim=1).tolist()
    return [row[:length] for row, length in zip(rows, num_frames.tolist(), strict=True)]
