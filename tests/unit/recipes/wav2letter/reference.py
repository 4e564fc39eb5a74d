"""ASG by enumeration of all paths, and by a plain loop that autograd differentiates."""

from itertools import groupby, product

import torch
from torch import Tensor

NEVER = -1e30


def score(x: Tensor, g: Tensor, path: tuple[int, ...]) -> Tensor:
    moves = [g[to, before] for before, to in zip(path, path[1:], strict=False)]
    return torch.stack([*(x[t, token] for t, token in enumerate(path)), *moves]).sum()


def enumerated(x: Tensor, g: Tensor, target: list[int]) -> tuple[Tensor, Tensor]:
    """Return log-sums over all paths and over those that spell a target; x is [T, N]."""
    paths = list(product(range(x.shape[1]), repeat=x.shape[0]))
    scores = torch.stack([score(x, g, path) for path in paths])
    spells = torch.tensor([[t for t, _ in groupby(path)] == target for path in paths])
    return scores.logsumexp(0), scores[spells].logsumexp(0)


def looped(x: Tensor, g: Tensor, y: Tensor) -> Tensor:
    """Return the loss of one utterance, not scaled: x is [T, N], y [L]."""
    every, aligned = x[0], torch.full((len(y),), NEVER, dtype=x.dtype)
    aligned = torch.cat([x[0, y[:1]], aligned[1:]])
    stay, move = g[y, y], g[y[1:], y[:-1]]
    before_start = torch.full((1,), NEVER, dtype=x.dtype)
    for t in range(1, len(x)):
        every = x[t] + (every[None] + g).logsumexp(1)
        moved = torch.cat([before_start, aligned[:-1] + move])
        aligned = x[t, y] + torch.stack([aligned + stay, moved]).logsumexp(0)
    return every.logsumexp(0) - aligned[-1]


def ragged(*, num_tokens: int, frames: list[int], lengths: list[int], seed: int = 0):
    """Return random emissions, transitions, targets without equal neighbours, and lengths."""
    generator = torch.Generator().manual_seed(seed)
    shape = (len(frames), max(frames), num_tokens)
    x = 2 * torch.randn(shape, generator=generator, dtype=torch.float64)
    g = torch.randn(num_tokens, num_tokens, generator=generator, dtype=torch.float64)
    steps = torch.randint(1, num_tokens, (len(lengths), max(lengths)), generator=generator)
    y = steps.cumsum(1) % num_tokens
    return x, g, y, torch.tensor(frames), torch.tensor(lengths)
