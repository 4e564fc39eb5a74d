"""Beam search over the words of a lexicon, by flashlight-text's decoder.

Decoder of R. Collobert et al., "Wav2Letter", 2016, and V. Liptchinsky et al., "Letter-Based Speech
Recognition with Gated ConvNets", 2017: hypotheses walk a trie of spellings; the language model
scores words (with the best word below a node as look-ahead) or tokens. Scores as in
`lexicon_free`, but for `word_score`, which counts words. Words outside the lexicon do not come.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor

from recipes.LibriSpeech.wav2letter.decoding.hypothesis import Hypothesis, search_batch
from recipes.LibriSpeech.wav2letter.decoding.language_model import Ints, LanguageModel
from recipes.LibriSpeech.wav2letter.decoding.lexicon_file import Lexicon, read_lexicon
from recipes.LibriSpeech.wav2letter.decoding.lexicon_free import checked_arrays
from recipes.LibriSpeech.wav2letter.decoding.optional import need
from recipes.LibriSpeech.wav2letter.decoding.options import BeamOptions
from recipes.LibriSpeech.wav2letter.tokens import TokenSet

_DECODER = "flashlight.lib.text.decoder"
_UNKNOWN = "<unk>"
FileOrModel = str | Path | LanguageModel | None
LexiconModelSource = FileOrModel | Callable[[Any], LanguageModel]


class LexiconSearch:
    """Beam search over words.

    The decoder is made when it is first needed, in the process that needs it; the object pickles.

    Arguments
    ---------
    tokens : TokenSet
        Of the acoustic model.
    lexicon : str | Path
        Words and their spellings, each ending with the separator.
    language_model : LexiconModelSource
        KenLM's binary or ARPA file, or a model of the words in the order of `words`, or of the
        tokens, or a function to it from the list of the words, or from the tokens; None: none.
    level : Literal["word", "token"]
        What the language model scores.
    options : BeamOptions | None
        Widths and weights; None: the defaults, without a language model's weight.

    Raises
    ------
    ValueError
        If a spelling has tokens that the acoustic model lacks.
    """

    def __init__(
        self,
        tokens: TokenSet,
        lexicon: str | Path,
        language_model: LexiconModelSource = None,
        *,
        level: Literal["word", "token"] = "word",
        options: BeamOptions | None = None,
    ) -> None:
        if level not in ("word", "token"):
            raise ValueError(f"lexicon search: level is {level!r}; expected word or token.")
        self.tokens, self.lexicon, self.model, self.level = tokens, lexicon, language_model, level
        self.options = options or BeamOptions()
        self._parts: _Parts | None = None
        self._made: tuple[bytes, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_parts": None, "_made": None}

    @property
    def words(self) -> list[str]:
        """The words in the order in which a word model has to number them; the last is unknown."""
        return self._get_parts().words

    def __call__(
        self, emissions: Tensor, num_frames: Tensor, transitions: Tensor
    ) -> list[list[int]]:
        """Search a batch, in place of `viterbi` in a recipe; see `search_batch`."""
        return search_batch(self.search, emissions, num_frames, transitions)

    def search(
        self, emissions: Tensor, transitions: Tensor, *, num_best: int = 1
    ) -> list[Hypothesis]:
        """Search one utterance.

        Arguments
        ---------
        emissions : Tensor
            [T, V] scores, unnormalised.
        transitions : Tensor
            [V, V] score of going to the row's token from the column's.
        num_best : int
            Hypotheses to return, at most.

        Returns
        -------
        list[Hypothesis]
            Best first; none if the beam lost every word (widen it).

        Raises
        ------
        ImportError
            If flashlight-text is not installed.
        """
        frames, moves = checked_arrays(emissions, transitions, num_tokens=len(self.tokens))
        if not len(frames):
            return [Hypothesis([], 0.0, [])]
        plain = np.ascontiguousarray(frames, np.float32)
        decoder = self._decoder(moves.astype(np.float32))
        found = decoder.decode(plain.ctypes.data, len(plain), len(self.tokens))
        words = self._get_parts().words
        return [
            Hypothesis(
                [words[word] for word in result.words if word >= 0],
                float(result.score),
                list(result.tokens[1:-1]),
            )
            for result in found[:num_best]
        ]

    def _get_parts(self) -> _Parts:
        if self._parts is None:
            self._parts = _Parts(self)
        return self._parts

    def _decoder(self, moves: np.ndarray[Any, Any]) -> Any:
        """Return the decoder of these transitions; they change with the acoustic model only."""
        key = moves.tobytes()
        if self._made is None or self._made[0] != key:
            self._made = key, self._get_parts().decoder(self, moves.ravel().tolist())
        return self._made[1]


class _Parts:
    """What is made once: words, language model, trie with look-ahead scores."""

    def __init__(self, search: LexiconSearch) -> None:
        self._text = need(_DECODER, "flashlight-text", why="for the search with a lexicon")
        lexicon = read_lexicon(search.lexicon)
        self.words = [*lexicon, *([] if _UNKNOWN in lexicon else [_UNKNOWN])]
        names = search.tokens if search.level == "token" else self.words
        model = search.model
        self._source: FileOrModel = model(names) if callable(model) else model
        self.model = self._language_model(search)
        self.trie = self._trie(search, lexicon)

    def decoder(self, search: LexiconSearch, moves: Sequence[float]) -> Any:
        """Return a decoder of some transitions, [to * V + from]."""
        text = self._text
        options = text.LexiconDecoderOptions(
            beam_size=search.options.beam_size,
            beam_size_token=len(search.tokens),
            beam_threshold=search.options.beam_threshold,
            lm_weight=search.options.lm_weight,
            word_score=search.options.word_score,
            unk_score=-np.inf,
            sil_score=search.options.sil_weight,
            log_add=False,
            criterion_type=text.CriterionType.ASG,
        )
        separator = search.tokens.index(search.tokens.separator)
        unknown = self.words.index(_UNKNOWN)
        is_token_model = search.level == "token"
        return text.LexiconDecoder(
            options, self.trie, self.model, separator, -1, unknown, moves, is_token_model
        )

    def _language_model(self, search: LexiconSearch) -> Any:
        source = self._source
        if source is None:
            return self._text.ZeroLM()
        names = self.words if search.level == "word" else list(search.tokens.names)
        if isinstance(source, LanguageModel):
            if source.num_tokens < len(names):
                raise ValueError(
                    f"lexicon search: the language model has {source.num_tokens} tokens; "
                    f"expected {len(names)}, one for each {search.level}."
                )
            return as_flashlight(source, self._text)
        path = Path(source)
        if not path.is_file():
            raise FileNotFoundError(f"lexicon search: no language model {path}; give its file.")
        kenlm = need(f"{_DECODER}.kenlm", "flashlight-text", why="to read a KenLM model")
        dictionary = need("flashlight.lib.text.dictionary", "flashlight-text", why="for words")
        self._dictionary = dictionary.Dictionary(names)  # the model keeps no reference to it
        return kenlm.KenLM(str(path), self._dictionary)

    def _trie(self, search: LexiconSearch, lexicon: Lexicon) -> Any:
        places = {name: place for place, name in enumerate(search.tokens.names)}
        unknown = {t for rows in lexicon.values() for row in rows for t in row} - places.keys()
        if unknown:
            raise ValueError(
                f"lexicon {search.lexicon}: spells with {sorted(unknown)[:5]}, which are no tokens "
                f"of the acoustic model ({' '.join(search.tokens.names[:8])} ...); expected its "
                "tokens; make the lexicon with the same token file."
            )
        trie = self._text.Trie(len(places), places[search.tokens.separator])
        scores = self._first_scores(search, lexicon)
        for number, word in enumerate(self.words):
            for spelling in lexicon.get(word, ()):
                trie.insert([places[token] for token in spelling], number, scores[number])
        trie.smear(self._text.SmearingMode.MAX)
        return trie

    def _first_scores(self, search: LexiconSearch, lexicon: Lexicon) -> list[float]:
        """Return the score of each word as the first one: the look-ahead of the trie."""
        source = self._source
        if source is None or search.level == "token":
            return [0.0] * len(self.words)
        if isinstance(source, LanguageModel):
            start = np.array([source.start()], np.int64)
            return [float(score) for score in source.scores(start)[0]]
        start = self.model.start(False)
        return [
            self.model.score(start, number)[1] if word in lexicon else 0.0
            for number, word in enumerate(self.words)
        ]


def as_flashlight(model: LanguageModel, text: Any) -> Any:
    """Wrap a language model for flashlight-text's decoders.

    Arguments
    ---------
    model : LanguageModel
        Of words or tokens.
    text : Any
        The module `flashlight.lib.text.decoder`.

    Returns
    -------
    Any
        An `LM` of flashlight-text. Its calls are single ones: slower than our own search.
    """

    class Wrapped(text.LM):
        """Hands flashlight's states on as numbers."""

        def __init__(self) -> None:
            super().__init__()
            self._numbers: dict[Any, int] = {}
            self._origins: dict[Any, tuple[int, int]] = {}

        def start(self, start_with_nothing: bool) -> Any:
            state = text.LMState()
            self._numbers, self._origins = {state: model.start()}, {}
            return state

        def score(self, state: Any, token: int) -> tuple[Any, float]:
            number = self._number(state)
            child = state.child(token)
            self._origins.setdefault(child, (number, token))
            return child, float(model.score_pairs(_one(number), _one(token))[0])

        def finish(self, state: Any) -> tuple[Any, float]:
            return state, float(model.finish(_one(self._number(state)))[0])

        def _number(self, state: Any) -> int:
            # Most states are never asked of again: they get a number when they are.
            if state not in self._numbers:
                parent, token = self._origins[state]
                self._numbers[state] = int(model.advance(_one(parent), _one(token))[0])
            return self._numbers[state]

    return Wrapped()


def _one(value: int) -> Ints:
    return np.array([value], np.int64)
