"""Scores of all paths, of the paths that spell a target, and of one path, with exact gradients.

Forward and backward recursions are one recursion each, run on the sequence and on its mirror
image side by side. Gradients are posteriors (of tokens at frames, of transitions), computed for all
frames at once from the states of both. All is in float64: at |score| of thousands float32 loses
digits that the gradient of the transitions needs.

Axes: B utterances, T frames, N tokens, L target tokens, 2 directions (0: in time, 1: mirrored).
"""

from typing import Any

import torch
from torch import Tensor

from recipes.LibriSpeech.wav2letter import recursions

NEVER = -1e30  # log of a state that cannot be reached; finite, so that differences are no NaN
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
    is_valid = _positions(emissions) < num_frames[:, None]  # [B, T]
    scores = emissions.gather(2, path[..., None]).squeeze(2).double()
    moves = transitions.double()[path[:, 1:], path[:, :-1]]
    emitted = scores.masked_fill(~is_valid, 0).sum(1)
    return emitted + moves.masked_fill(~is_valid[:, 1:], 0).sum(1)


class _AllPaths(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, emissions: Tensor, transitions: Tensor, num_frames: Tensor) -> Tensor:
        x = emissions.detach().double()
        is_valid = _positions(x) < num_frames[:, None]
        x = x.masked_fill(~is_valid[..., None], 0)
        top = x.amax(-1, keepdim=True)
        likely = (x - top).clamp_min(-MAX_EMISSION_SPREAD).exp()  # [B, T, N]
        g = transitions.detach().double()
        moves = (g - g.amax()).exp()
        both = torch.stack([likely, _flipped(likely, _mirror(x, num_frames))], dim=1)
        states, norms = recursions.full(
            both.permute(2, 1, 0, 3).contiguous(), torch.stack([moves.T, moves]).contiguous()
        )  # [T, 2, B, N], [T, B]
        per_frame = norms.log().T + top.squeeze(-1)  # [B, T]
        score = per_frame.masked_fill(~is_valid, 0).sum(1) + (num_frames - 1) * g.amax()
        score = torch.where(g.amax() - g.amin() <= MAX_TRANSITION_SPREAD, score, torch.nan)
        if any(ctx.needs_input_grad):
            posteriors = _full_posteriors(states, moves, num_frames, is_valid)
            ctx.save_for_backward(*posteriors)
            ctx.kinds = emissions.dtype, transitions.dtype
        return score

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return (*_weighted(ctx, grads[0]), None)


def _full_posteriors(
    states: Tensor, moves: Tensor, num_frames: Tensor, is_valid: Tensor
) -> tuple[Tensor, Tensor]:
    """Return posteriors of tokens [B, T, N] and sums of those of transitions [B, N, N]."""
    begun = states[:, 0].transpose(0, 1)  # [B, T, N] paths up to and with frame t
    mirrored = states[:, 1].transpose(0, 1)
    ended = _flipped(mirrored, _mirror(begun, num_frames))  # from and with frame t
    after = torch.ones_like(ended)
    after[:, :-1] = ended[:, 1:] @ moves  # from frame t, without its emission
    is_last = _positions(begun) == num_frames[:, None] - 1
    after = after.masked_fill(is_last[..., None], 1)
    joint = begun * after
    totals = joint.sum(-1, keepdim=True)  # [B, T, 1]
    tokens = (joint / totals).masked_fill(~is_valid[..., None], 0)
    arriving = (ended[:, 1:] / totals[:, :-1]).masked_fill(~is_valid[:, 1:, None], 0)
    return tokens, moves * (arriving.transpose(1, 2) @ begun[:, :-1])


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
        g = transitions.detach().double()
        chain = _Chain(emissions.detach(), g, targets, num_frames, num_targets)
        begun, mirrored = chain.run()  # [B, T, L]
        batch = torch.arange(len(targets), device=targets.device)
        score = begun[batch, num_frames - 1, num_targets - 1]
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(*chain.posteriors(begun, chain.mirror(mirrored), score))
            ctx.kinds = emissions.dtype, transitions.dtype
        return score

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return (*_weighted(ctx, grads[0]), None, None, None)


class _Chain:
    """Targets as chains of places, each with its own emissions, in time and mirrored."""

    def __init__(
        self, x: Tensor, g: Tensor, targets: Tensor, num_frames: Tensor, num_targets: Tensor
    ) -> None:
        self.targets, self.num_tokens = targets, x.shape[2]
        self.is_valid = _positions(x) < num_frames[:, None]  # [B, T]
        places = torch.arange(targets.shape[1], device=x.device)
        self.is_place = places < num_targets[:, None]  # [B, L]
        self.frame_flip = _mirror(x, num_frames)  # [B, T]
        self.place_flip = (num_targets[:, None] - 1 - places).clamp_min(0)  # [B, L]
        self.emissions = x.double().masked_fill(~self.is_valid[..., None], 0)  # [B, T, N]
        self.spelled = _spelled(self.emissions, targets)  # [B, T, L]
        self.stays = g[targets, targets]  # [B, L]
        self.moves = torch.full_like(self.stays, NEVER)  # to a place from the one before it
        self.moves[:, 1:] = g[targets[:, 1:], targets[:, :-1]]

    def mirror(self, x: Tensor) -> Tensor:
        """Return x [B, T, L] with frames and places of each utterance in reversed order."""
        return _flipped(x, self.frame_flip).gather(2, self.place_flip[:, None].expand_as(x))

    def run(self) -> tuple[Tensor, Tensor]:
        """Return the states [B, T, L] in time, and those of the mirrored chain."""
        mirrored_moves = torch.full_like(self.moves, NEVER)
        mirrored_moves[:, 1:] = self.moves.gather(1, self.place_flip[:, :-1])
        mirrored_targets = self.targets.gather(1, self.place_flip)
        batch, frames, length = self.spelled.shape
        scores = self.spelled.new_empty(frames, 2, batch, length)
        scores[:, 0] = self.spelled.transpose(0, 1)
        mirrored = _flipped(self.emissions, self.frame_flip)
        scores[:, 1] = _spelled(mirrored, mirrored_targets).transpose(0, 1)
        states = recursions.chain(
            scores.flatten(1, 2),
            torch.cat([self.stays, self.stays.gather(1, self.place_flip)]),
            torch.cat([self.moves, mirrored_moves]),
        )  # [T, 2 B, L]
        in_time, mirrored = states.transpose(0, 1).chunk(2)
        return in_time, mirrored

    def posteriors(self, begun: Tensor, ended: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
        """Return posteriors of tokens [B, T, N] and sums of those of transitions [B, N, N].

        `begun` are the log-sums of paths up to a frame and place, `ended` from there on, both with
        its emission. Every path enters each place of the target once, and stays there for the rest
        of its frames: so the transitions follow from the places.
        """
        is_used = self.is_valid[..., None] & self.is_place[:, None]
        places = (begun + ended).sub_(self.spelled).sub_(score[:, None, None])
        places = places.masked_fill_(~is_used, NEVER).exp_()
        entered = self.is_place.double()
        return _onto_tokens(
            places, places.sum(1) - entered, entered[:, 1:], self.targets, self.num_tokens
        )


def _onto_tokens(
    tokens: Tensor, stayed: Tensor, moved: Tensor, targets: Tensor, num_tokens: int
) -> tuple[Tensor, Tensor]:
    """Add up posteriors of places of the target to those of tokens and transitions."""
    batch, frames, _ = tokens.shape
    onto = tokens.new_zeros(batch, frames, num_tokens)
    onto.scatter_add_(2, targets[:, None].expand_as(tokens), tokens)
    transitions = tokens.new_zeros(batch, num_tokens * num_tokens)
    transitions.scatter_add_(1, targets * num_tokens + targets, stayed)
    transitions.scatter_add_(1, targets[:, 1:] * num_tokens + targets[:, :-1], moved)
    return onto, transitions.view(batch, num_tokens, num_tokens)


def _weighted(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
    tokens, transitions = ctx.saved_tensors
    kinds = ctx.kinds
    grad = grad.double()
    return (
        (grad[:, None, None] * tokens).to(kinds[0]),
        torch.einsum("b,bij->ij", grad, transitions).to(kinds[1]),
    )


def _spelled(x: Tensor, targets: Tensor) -> Tensor:
    """Return [B, T, L] emissions of the targets' tokens."""
    return x.gather(2, targets[:, None].expand(-1, x.shape[1], -1))


def _flipped(x: Tensor, frame_flip: Tensor) -> Tensor:
    """Return x [B, T, N] with frames in the order of an index [B, T]."""
    starts = torch.arange(len(x), device=x.device)[:, None] * x.shape[1]
    return x.flatten(0, 1).index_select(0, (starts + frame_flip).flatten()).view_as(x)


def _positions(x: Tensor) -> Tensor:
    return torch.arange(x.shape[1], device=x.device)


def _mirror(x: Tensor, num_frames: Tensor) -> Tensor:
    """Return [B, T] frames in reversed order within each utterance; padding points at frame 0."""
    return (num_frames[:, None] - 1 - _positions(x)).clamp_min(0)
