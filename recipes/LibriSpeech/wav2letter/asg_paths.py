"""Scores of all paths, of the paths that spell a target, and of one path, with exact gradients.

Gradients are posteriors (of tokens at frames, of transitions), computed for all frames at once from
the states of a recursion in time and of one from the end. Over all tokens, the second is the first
on the mirror image, and both run side by side. All paths that spell a target enter each of its
places once, whenever that is: only staying tells them apart, and its scores join the emissions.

All is in float64: at |score| of thousands float32 loses digits that the gradient of the transitions
needs.

Axes: B utterances, T frames, N tokens, L target tokens, 2 directions (0: in time, 1: mirrored).
"""

from typing import Any

import torch
from torch import Tensor

from recipes.LibriSpeech.wav2letter import recursions

NEVER = -1e30  # log of a state that cannot be reached; finite, so that differences are no NaN
MIN_LOG_POSTERIOR = -700.0  # where exp underflows, it takes 20 to 100 times as long
MAX_EMISSION_SPREAD = 500.0
MAX_TRANSITION_SPREAD = 200.0
"""Scaled probabilities bear transitions that differ by up to 200. Then paths through an emission
500 below the best of its frame weigh less than e**-100, and the lower bound set to it changes
nothing. With wider transitions, where this does not hold, the score is NaN."""


def all_paths(emissions: Tensor, transitions: Tensor, num_frames: Tensor) -> Tensor:
    """Return log of the sum over all N**T paths of exp(score), one for each utterance.

    Arguments
    ---------
    emissions : Tensor
        [B, T, N], any floating type.
    transitions : Tensor
        [N to, N from].
    num_frames : Tensor
        [B] int64, >= 1.

    Returns
    -------
    Tensor
        [B] float64; NaN if transitions differ by more than 200.
    """
    return _AllPaths.apply(emissions, transitions, num_frames)


def target_paths(
    emissions: Tensor,
    transitions: Tensor,
    targets: Tensor,
    num_frames: Tensor,
    num_targets: Tensor,
) -> Tensor:
    """Return log of the sum over the paths that spell the target, one for each utterance.

    Arguments
    ---------
    emissions : Tensor
        [B, T, N], any floating type.
    transitions : Tensor
        [N to, N from].
    targets : Tensor
        [B, L] int64.
    num_frames : Tensor
        [B] int64.
    num_targets : Tensor
        [B] int64, 1 to num_frames.

    Returns
    -------
    Tensor
        [B] float64.
    """
    return _TargetPaths.apply(emissions, transitions, targets, num_frames, num_targets)


def path_score(emissions: Tensor, transitions: Tensor, path: Tensor, num_frames: Tensor) -> Tensor:
    """Return [B] float64 scores of one path [B, T] an utterance."""
    is_over = _over(emissions.shape[1], num_frames).T  # [B, T]
    scores = emissions.gather(2, path[..., None]).squeeze(2).double()
    moves = transitions.double()[path[:, 1:], path[:, :-1]]
    emitted = scores.masked_fill(is_over, 0).sum(1)
    return emitted + moves.masked_fill(is_over[:, 1:], 0).sum(1)


class _AllPaths(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, emissions: Tensor, transitions: Tensor, num_frames: Tensor) -> Tensor:
        x = emissions.detach().transpose(0, 1).double()
        is_over = _over(len(x), num_frames)  # [T, B]
        x = x.masked_fill(is_over[..., None], 0).contiguous()
        top = x.amax(-1, keepdim=True)
        likely = (x - top).clamp_min(-MAX_EMISSION_SPREAD).exp()  # [T, B, N]
        g = transitions.detach().double()
        moves = (g - g.amax()).exp()
        both = torch.stack([likely, _mirrored(likely, num_frames)], dim=1)  # [T, 2, B, N]
        states, norms = recursions.full(both, torch.stack([moves.T, moves]))
        per_frame = norms.log() + top.squeeze(-1)  # [T, B]
        score = per_frame.masked_fill(is_over, 0).sum(0) + (num_frames - 1) * g.amax()
        score = torch.where(g.amax() - g.amin() <= MAX_TRANSITION_SPREAD, score, torch.nan)
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(*_full_posteriors(states, moves, num_frames))
            ctx.kinds = emissions.dtype, transitions.dtype
        return score

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return (*_weighted(ctx, grads[0]), None)


def _full_posteriors(states: Tensor, moves: Tensor, num_frames: Tensor) -> tuple[Tensor, Tensor]:
    """Return posteriors of tokens [B, T, N] and sums of those of transitions [B, N, N]."""
    begun = states[:, 0]  # [T, B, N] paths up to and with frame t
    ended = _mirrored(states[:, 1], num_frames)  # from and with frame t
    is_over = _over(len(begun) + 1, num_frames)[..., None]  # [T + 1, B, 1]
    after = torch.ones_like(ended)
    after[:-1] = ended[1:] @ moves  # from frame t, without its emission
    joint = begun * after.masked_fill_(is_over[1:], 1)
    totals = joint.sum(-1, keepdim=True)  # [T, B, 1]
    tokens = (joint / totals).masked_fill_(is_over[:-1], 0)
    arriving = (ended[1:] / totals[:-1]).masked_fill_(is_over[1:-1], 0)
    pairs = arriving.permute(1, 2, 0) @ begun[:-1].transpose(0, 1)
    return tokens.transpose(0, 1), moves * pairs


class _TargetPaths(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        emissions: Tensor,
        transitions: Tensor,
        targets: Tensor,
        num_frames: Tensor,
        num_targets: Tensor,
    ) -> Tensor:
        x, g = emissions.detach(), transitions.detach().double()
        places = _bordered(targets, num_targets, len(g)).expand(x.shape[1] + 2, -1, -1)
        scores = _place_scores(x + g.diagonal(), num_frames).gather(2, places)
        begun, ended = recursions.chain(scores)  # [T + 2, B, L + 2]
        total = begun[-1].gather(1, num_targets[:, None] + 1)  # [B, 1]
        entries = _entries(targets, num_targets, len(g))
        if any(ctx.needs_input_grad):
            log_posteriors = ended.add_(begun).sub_(scores).sub_(total)
            posteriors = log_posteriors.clamp_min_(MIN_LOG_POSTERIOR).exp_()
            tokens = posteriors.new_zeros(*scores.shape[:2], len(g) + 2)
            tokens.scatter_add_(2, places, posteriors)
            tokens = tokens[1:-1, :, : len(g)]
            tokens = tokens.masked_fill(_over(len(tokens), num_frames)[..., None], 0)
            ctx.save_for_backward(tokens.transpose(0, 1), entries + tokens.sum(0).diag_embed())
            ctx.kinds = emissions.dtype, transitions.dtype
        return total.squeeze(1) + (entries * g).sum((1, 2))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return (*_weighted(ctx, grads[0]), None, None, None)


def _bordered(targets: Tensor, num_targets: Tensor, num_tokens: int) -> Tensor:
    """Return [B, L + 2] columns of `_place_scores`: a start, the target's tokens, an end."""
    places = torch.arange(targets.shape[1] + 2, device=targets.device)
    last = num_targets[:, None]
    columns = torch.nn.functional.pad(targets, (1, 1))
    columns = columns.masked_fill((places == 0) | (places > last), num_tokens)
    return columns.masked_fill(places == last + 1, num_tokens + 1)


def _place_scores(x: Tensor, num_frames: Tensor) -> Tensor:
    """Return scores [T + 2, B, N + 2] of tokens, of a start (column N) and of an end (N + 1).

    There is one frame before the first and one behind the last. A path is at the start in the
    frame before the first, at tokens in its own frames, and at the end in all that follow.
    """
    batch, frames, num_tokens = x.shape
    scores = x.new_full((frames + 2, batch, num_tokens + 2), NEVER, dtype=torch.float64)
    is_over = _over(frames + 2, num_frames + 1)  # [T + 2, B]
    scores[1:-1, :, :num_tokens] = x.transpose(0, 1).masked_fill(is_over[1:-1, :, None], NEVER)
    scores[0, :, num_tokens] = 0
    scores[..., num_tokens + 1].masked_fill_(is_over, 0)
    return scores


def _entries(targets: Tensor, num_targets: Tensor, num_tokens: int) -> Tensor:
    """Return [B, N to, N from] how often paths that spell the target use a transition by entering.

    Every path enters each place once, from the place before it. It is counted as staying in the
    token of a place in each of the place's frames, so once too often: entering takes that back.
    """
    places = torch.arange(targets.shape[1], device=targets.device)
    entered = (places < num_targets[:, None]).double()  # [B, L]
    counts = entered.new_zeros(len(targets), num_tokens * num_tokens)
    counts.scatter_add_(1, targets[:, 1:] * num_tokens + targets[:, :-1], entered[:, 1:])
    counts.scatter_add_(1, targets * num_tokens + targets, -entered)
    return counts.view(-1, num_tokens, num_tokens)


def _weighted(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
    tokens, transitions = ctx.saved_tensors
    kinds = ctx.kinds
    grad = grad.double()
    return (
        (grad[:, None, None] * tokens).to(kinds[0]),
        torch.einsum("b,bij->ij", grad, transitions).to(kinds[1]),
    )


def _over(length: int, num_frames: Tensor) -> Tensor:
    """Return [length, B] whether a frame lies behind the utterance's last."""
    return torch.arange(length, device=num_frames.device)[:, None] >= num_frames


def _mirrored(x: Tensor, num_frames: Tensor) -> Tensor:
    """Return x [T, B, N], each utterance's frames in reversed order; padding repeats the first."""
    frames = torch.arange(len(x), device=x.device)[:, None]
    batch = torch.arange(len(num_frames), device=x.device)
    rows = (num_frames - 1 - frames).clamp_min(0) * len(batch) + batch  # [T, B]
    return x.flatten(0, 1).index_select(0, rows.flatten()).view_as(x)
