"""KenLM as a language model of tokens: binaries of any size, states as KenLM minimises them.

Either package serves: `kenlm` (a source package) or `flashlight-text` (a wheel that holds KenLM).
Both answer for one state and token at a time; answers are kept, so that the rows of states that
come again cost one gather. K. Heafield, "KenLM: faster and smaller language model queries", 2011.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from recipes.LibriSpeech.wav2letter.decoding.language_model import (
    FIRST_CELLS,
    Floats,
    Ints,
    LanguageModel,
)
from recipes.LibriSpeech.wav2letter.decoding.optional import need

MAX_ANSWERS = 4_000_000


class _Backend(Protocol):
    def start(self) -> Any: ...

    def score(self, state: Any, token: int) -> tuple[Any, float]: ...

    def finish(self, state: Any) -> float: ...


class KenLMModel(LanguageModel):
    """n-gram model in any form that KenLM reads.

    Arguments
    ---------
    path : str | Path
        Binary or ARPA file.
    tokens : Sequence[str]
        V tokens in the order of the acoustic model.
    max_answers : int
        Answers of KenLM kept from one utterance to the next.

    Raises
    ------
    ImportError
        If neither kenlm nor flashlight-text is installed.
    FileNotFoundError
        If there is no such file.
    ValueError
        If KenLM can not read it, for example as its n-grams are too long.
    """

    unit = "log10"

    def __init__(
        self, path: str | Path, tokens: Sequence[str], *, max_answers: int = MAX_ANSWERS
    ) -> None:
        if not Path(path).is_file():
            raise FileNotFoundError(f"kenlm: {path} is absent; expected a KenLM binary or ARPA.")
        self.num_tokens = len(tokens)
        self._backend = _backend(Path(path), list(tokens))
        self._max_answers = max_answers
        self._clear()

    def start(self) -> int:
        """Return the state after `<s>`; forget answers if there are too many."""
        if len(self._answers) + self._num_rows * self.num_tokens > self._max_answers:
            self._clear()
        return self._number(self._backend.start())

    def scores(self, states: Ints) -> Floats:
        """Return [N, V] log10 probabilities."""
        rows = self._rows(states)  # may make the table anew
        return self._scores[rows]

    def advance(self, states: Ints, tokens: Ints) -> Ints:
        """Return KenLM's states after each token."""
        rows = self._row_of[states]
        found = self._followers[rows, tokens]
        for place in np.flatnonzero(rows < 0):
            found[place] = self._answer(int(states[place]), int(tokens[place]))[0]
        return found

    def finish(self, states: Ints) -> Floats:
        """Return [N] log10 p(</s>)."""
        values = [self._backend.finish(self._states[state]) for state in states.tolist()]
        return np.array(values, np.float32)

    def score_pairs(self, states: Ints, tokens: Ints) -> Floats:
        """Return [N] log10 probabilities."""
        pairs = zip(states.tolist(), tokens.tolist(), strict=True)
        return np.array([self._answer(s, token)[1] for s, token in pairs], np.float32)

    def _clear(self) -> None:
        self._states: list[Any] = []
        self._number_of: dict[Any, int] = {}
        self._answers: dict[tuple[int, int], tuple[int, float]] = {}
        self._row_of = np.full(1024, -1, np.int64)
        shape = max(8, FIRST_CELLS // self.num_tokens), self.num_tokens
        self._scores = np.zeros(shape, np.float32)
        self._followers = np.zeros(shape, np.int64)
        self._num_rows = 0

    def _number(self, state: Any) -> int:
        number = self._number_of.setdefault(state, len(self._states))
        if number == len(self._states):
            self._states.append(state)
            if number == len(self._row_of):
                self._row_of = np.pad(self._row_of, (0, number), constant_values=-1)
        return number

    def _ask(self, state: int, token: int) -> tuple[int, float]:
        following, score = self._backend.score(self._states[state], token)
        return self._number(following), score

    def _answer(self, state: int, token: int) -> tuple[int, float]:
        answer = self._answers.get((state, token))
        if answer is None:
            answer = self._answers[state, token] = self._ask(state, token)
        return answer

    def _rows(self, states: Ints) -> Ints:
        for state in np.unique(states[self._row_of[states] < 0]).tolist():
            self._row_of[state] = self._make_row(state)
        return self._row_of[states]

    def _make_row(self, state: int) -> int:
        if self._num_rows == len(self._scores):
            self._scores = np.concatenate([self._scores, np.zeros_like(self._scores)])
            self._followers = np.concatenate([self._followers, np.zeros_like(self._followers)])
        row, self._num_rows = self._num_rows, self._num_rows + 1
        for token in range(self.num_tokens):
            self._followers[row, token], self._scores[row, token] = self._ask(state, token)
        return row


class _KenLMPackage:
    """The package kenlm; equal states have equal hashes."""

    def __init__(self, module: Any, path: Path, tokens: list[str]) -> None:
        self._kenlm, self._tokens = module, tokens
        self._model = module.Model(str(path))

    def start(self) -> Any:
        state = self._kenlm.State()
        self._model.BeginSentenceWrite(state)
        return state

    def score(self, state: Any, token: int) -> tuple[Any, float]:
        following = self._kenlm.State()
        return following, self._model.BaseScore(state, self._tokens[token], following)

    def finish(self, state: Any) -> float:
        score: float = self._model.BaseScore(state, "</s>", self._kenlm.State())
        return score


class _FlashlightPackage:
    """KenLM inside flashlight-text; a state is a history there, so fewer of them are equal."""

    def __init__(self, path: Path, tokens: list[str]) -> None:
        from flashlight.lib.text.decoder.kenlm import KenLM
        from flashlight.lib.text.dictionary import Dictionary

        self._words = Dictionary(tokens)
        self._model = KenLM(str(path), self._words)

    def start(self) -> Any:
        return self._model.start(False)

    def score(self, state: Any, token: int) -> tuple[Any, float]:
        following, score = self._model.score(state, token)
        return following, score

    def finish(self, state: Any) -> float:
        score: float = self._model.finish(state)[1]
        return score


def _backend(path: Path, tokens: list[str]) -> _Backend:
    try:
        if find_spec("kenlm") is not None:
            return _KenLMPackage(import_module("kenlm"), path, tokens)
        need("flashlight.lib.text.decoder.kenlm", "flashlight-text", why=f"to read {path}")
        return _FlashlightPackage(path, tokens)
    except (RuntimeError, OSError) as error:
        raise ValueError(
            f"kenlm: {path} can not be read: {error} Expected a model that this KenLM supports: "
            "flashlight-text reads n-grams of up to 6 tokens, the package kenlm as many as it was "
            "built for (MAX_ORDER=20 pip install kenlm); `ngram.NGramModel` reads any ARPA file."
        ) from error
