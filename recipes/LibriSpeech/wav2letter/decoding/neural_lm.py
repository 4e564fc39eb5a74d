"""A network as a language model of a beam: one batched step for all states that are new.

A state is a slot of a pool: the network's own state (tensors, gathered by index) and the scores of
all tokens after it. A slot is filled when its scores are first asked for, all new ones of a frame
together, and freed when no hypothesis holds it. Histories are never merged by the network, but a
history that two hypotheses reach (by staying in a token, and by entering it) has one slot.

Legend: N states, V tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from recipes.LibriSpeech.wav2letter.decoding.language_model import Floats, Ints, LanguageModel


class StepModel(Protocol):
    """What a network offers; its state is a tuple of tensors whose first axis is the batch."""

    def initial_state(self, batch: int) -> tuple[Tensor, ...]:
        """Return the state before the first word of `batch` histories."""
        ...

    def step(self, words: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return [N, W] log-probabilities of the next word after one word more, and the state."""
        ...


class NeuralModel(LanguageModel):
    """Language model that asks a network.

    Arguments
    ---------
    network : Any
        A module that is a `StepModel`; put into evaluation mode.
    word_of_token : Sequence[int]
        [V] word number of each token in the network.
    start_word : int
        Word before the first one (the end of the former utterance, in most models).
    end_word : int
        Word that ends an utterance.
    batch_size : int
        Histories of one call of the network, at most: bounds its memory.
    """

    unit = "ln"

    def __init__(
        self,
        network: Any,
        word_of_token: Sequence[int],
        *,
        start_word: int,
        end_word: int,
        batch_size: int = 1000,
    ) -> None:
        self.network = network.eval()
        self.num_tokens = len(word_of_token)
        self._words = torch.tensor([*word_of_token, end_word])
        self._start_word, self._batch_size = start_word, batch_size
        self._pool: list[Tensor] = []
        self._clear(64)

    def start(self) -> int:
        """Return the state before the first token; all others end."""
        self._clear(64)
        with torch.inference_mode():
            state = self.network.initial_state(1)
            words = torch.tensor([self._start_word], device=state[0].device)
            logp, state = self.network.step(words, state)
        self._pool = [part.new_zeros((self._capacity, *part.shape[1:])) for part in state]
        self._take(1)
        self._store(np.zeros(1, np.int64), logp, state)
        return 0

    def scores(self, states: Ints) -> Floats:
        """Return [N, V] natural logarithms."""
        self._fill(states)
        return self._scores[states, : self.num_tokens]

    def finish(self, states: Ints) -> Floats:
        """Return [N] ln p(end)."""
        self._fill(states)
        return self._scores[states, self.num_tokens]

    def advance(self, states: Ints, tokens: Ints) -> Ints:
        """Return the slots of the histories with one token more; new ones are filled later."""
        found = self._children[states, tokens]
        if (found < 0).any():
            pairs = np.unique((states * self.num_tokens + tokens)[found < 0])
            parents, by = np.divmod(pairs, self.num_tokens)
            slots = self._take(len(pairs))
            self._children[parents, by] = slots
            self._parents[slots], self._last[slots] = parents, by
            found = self._children[states, tokens]
        return found

    def keep(self, states: Ints) -> None:
        """Free the slots of all other states, once those asked for are filled."""
        self._fill(states)
        is_kept = np.zeros(self._capacity, bool)
        is_kept[states] = True
        freed = np.flatnonzero(self._is_taken & ~is_kept)
        heirs = self._children[freed]
        self._parents[heirs[heirs >= 0]] = -1
        held = freed[self._parents[freed] >= 0]
        self._children[self._parents[held], self._last[held]] = -1
        self._children[freed] = -1
        self._parents[freed] = -1
        self._is_taken[freed] = self._is_filled[freed] = False

    def _fill(self, states: Ints) -> None:
        """Compute the scores of slots that have none yet, from their parents' states."""
        empty = np.unique(states[~self._is_filled[states]])
        for first in range(0, len(empty), self._batch_size):
            slots = empty[first : first + self._batch_size]
            device = self._pool[0].device
            parents = torch.from_numpy(self._parents[slots]).to(device)
            words = self._words[torch.from_numpy(self._last[slots])].to(device)
            with torch.inference_mode():
                logp, state = self.network.step(words, tuple(p[parents] for p in self._pool))
            self._store(slots, logp, state)

    def _store(self, slots: Ints, logp: Tensor, state: tuple[Tensor, ...]) -> None:
        places = torch.from_numpy(slots).to(state[0].device)
        for part, values in zip(self._pool, state, strict=True):
            part[places] = values
        wanted = logp[:, self._words.to(logp.device)]
        self._scores[slots] = wanted.float().cpu().numpy()
        self._is_filled[slots] = True

    def _take(self, number: int) -> Ints:
        free = np.flatnonzero(~self._is_taken)
        if len(free) < number:
            self._grow(2 * self._capacity + number)
            free = np.flatnonzero(~self._is_taken)
        slots = free[:number]
        self._is_taken[slots] = True
        return slots

    def _clear(self, capacity: int) -> None:
        self._capacity = capacity
        self._pool = []
        self._scores = np.zeros((capacity, self.num_tokens + 1), np.float32)
        self._children = np.full((capacity, self.num_tokens), -1, np.int64)
        self._parents = np.full(capacity, -1, np.int64)
        self._last = np.zeros(capacity, np.int64)
        self._is_taken = np.zeros(capacity, bool)
        self._is_filled = np.zeros(capacity, bool)

    def _grow(self, capacity: int) -> None:
        more = capacity - self._capacity
        self._pool = [torch.cat([p, p.new_zeros((more, *p.shape[1:]))]) for p in self._pool]
        self._scores = np.pad(self._scores, ((0, more), (0, 0)))
        self._children = np.pad(self._children, ((0, more), (0, 0)), constant_values=-1)
        self._parents = np.pad(self._parents, (0, more), constant_values=-1)
        self._last = np.pad(self._last, (0, more))
        self._is_taken = np.pad(self._is_taken, (0, more))
        self._is_filled = np.pad(self._is_filled, (0, more))
        self._capacity = capacity
