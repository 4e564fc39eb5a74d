"""flashlight-text's own lexicon-free search, as the other contestant and as a test's yardstick.

It ignores the transitions in its search. They can be brought in without touching it: what it costs
to stay in a token goes into the emissions from the second frame on, and what a change costs beyond
that goes into a language model written in Python, which also adds the word score. The first frame
has no transition: what the language model will charge there is given back in the emissions.
"""

from pathlib import Path
from typing import Any

import numpy as np
from flashlight.lib.text import decoder as text
from flashlight.lib.text.decoder.kenlm import KenLM
from flashlight.lib.text.dictionary import Dictionary
from torch import Tensor

from recipes.LibriSpeech.wav2letter.decoding.hypothesis import Hypothesis
from recipes.LibriSpeech.wav2letter.decoding.options import BeamOptions
from recipes.LibriSpeech.wav2letter.tokens import TokenSet


class WithTransitions(text.LM):
    """KenLM plus what a change of the token costs.

    Arguments
    ---------
    model : Any
        flashlight-text's KenLM.
    moves : Tensor
        [V, V] transitions, [to, from].
    options : BeamOptions
        Weights.
    separator : int
        Token that parts words.
    """

    def __init__(self, model: Any, moves: Tensor, *, options: BeamOptions, separator: int) -> None:
        super().__init__()
        extra = moves - moves.diagonal()[:, None]  # [to, from]
        extra[separator] += options.word_score
        self._extra = (extra / options.lm_weight).tolist()
        self._model, self._separator = model, separator
        self._last: dict[Any, int] = {}

    def start(self, start_with_nothing: bool) -> Any:
        """Return KenLM's state after `<s>`."""
        state = self._model.start(start_with_nothing)
        self._last = {state: self._separator}
        return state

    def score(self, state: Any, token: int) -> tuple[Any, float]:
        """Return the following state, and its score with that of the change."""
        following, score = self._model.score(state, token)
        self._last[following] = token
        return following, score + self._extra[token][self._last[state]]

    def finish(self, state: Any) -> tuple[Any, float]:
        """Return KenLM's score of the end."""
        following, score = self._model.finish(state)
        return following, score


class FlashlightSearch:
    """flashlight-text's lexicon-free search with KenLM.

    Arguments
    ---------
    tokens : TokenSet
        Of the acoustic model.
    arpa : Path
        Model of the tokens.
    options : BeamOptions
        Widths and weights.
    wraps : bool
        True: transitions and word score count; False: neither does.
    """

    def __init__(self, tokens: TokenSet, arpa: Path, options: BeamOptions, *, wraps: bool) -> None:
        self.tokens, self.options, self.wraps = tokens, options, wraps
        self._words = Dictionary(list(tokens.names))
        self._model = KenLM(str(arpa), self._words)
        self._separator = tokens.index(tokens.separator)

    def search(self, emissions: Tensor, moves: Tensor) -> list[Hypothesis]:
        """Return the best hypothesis of [T, V] scores."""
        x, model = emissions.double().clone(), self._model
        if self.wraps:
            stay, first = moves.diagonal().double(), self._separator
            x[1:] += stay
            given_back = moves[:, first].double() - stay
            given_back[first] = 0
            x[0] -= given_back
            options = {"options": self.options, "separator": first}
            model = WithTransitions(self._model, moves.double(), **options)
        frames = np.ascontiguousarray(x.numpy(), np.float32)
        best = self._decoder(model).decode(frames.ctypes.data, *frames.shape)[0]
        path = list(best.tokens[1:-1])
        return [Hypothesis(self.tokens.words_of_path(path), best.score, path)]

    def _decoder(self, model: Any) -> Any:
        options = text.LexiconFreeDecoderOptions(
            beam_size=self.options.beam_size,
            beam_size_token=len(self.tokens),
            beam_threshold=self.options.beam_threshold,
            lm_weight=self.options.lm_weight,
            sil_score=self.options.sil_weight,
            log_add=False,
            criterion_type=text.CriterionType.ASG,
        )
        zeros = [0.0] * len(self.tokens) ** 2
        return text.LexiconFreeDecoder(options, model, self._separator, -1, zeros)
