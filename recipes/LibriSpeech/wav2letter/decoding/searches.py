"""The searches as a run file names them: made of paths and numbers, when they are first needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from recipes.LibriSpeech.wav2letter.decoding.hypothesis import Hypothesis
from recipes.LibriSpeech.wav2letter.decoding.kenlm_model import KenLMModel
from recipes.LibriSpeech.wav2letter.decoding.language_model import LanguageModel, NoLanguageModel
from recipes.LibriSpeech.wav2letter.decoding.lexicon import LexiconModelSource, LexiconSearch
from recipes.LibriSpeech.wav2letter.decoding.lexicon_free import LexiconFreeSearch
from recipes.LibriSpeech.wav2letter.decoding.ngram import NGramModel
from recipes.LibriSpeech.wav2letter.decoding.options import BeamOptions, Seq2SeqOptions
from recipes.LibriSpeech.wav2letter.decoding.seq2seq import Seq2SeqSearch
from recipes.LibriSpeech.wav2letter.tokens import REPLABEL, TokenSet

ModelSource = str | Path | Callable[[TokenSet], LanguageModel] | None


class Deferred:
    """A search that is made when it is first used: its files need not be there before.

    Arguments
    ---------
    make : Callable[[], Any]
        Returns the search.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._made: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_made": None}

    def __call__(self, *arguments: Any) -> Any:
        """Search; see the search that is made."""
        if self._made is None:
            self._made = self._make()
        return self._made(*arguments)


def chosen(name: str, searches: Mapping[str, Any]) -> Any:
    """Return one of several searches.

    Arguments
    ---------
    name : str
        Which; ``test_with`` of a run file.
    searches : Mapping[str, Any]
        By name.

    Returns
    -------
    Any
        The search.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    if name not in searches:
        raise ValueError(f"test_with: is {name!r}; expected one of {sorted(searches)}.")
    return searches[name]


def language_model(source: ModelSource, tokens: TokenSet) -> LanguageModel | None:
    """Open a language model of tokens: ARPA files by numpy alone, others by KenLM.

    Arguments
    ---------
    source : ModelSource
        `.arpa`, `.arpa.gz`, or a KenLM binary of any other name; or a function from the tokens to
        the model, such as `recipes.LibriSpeech.LM.conv_lm.loading.conv_lm`; None: none.
    tokens : TokenSet
        Of the acoustic model.

    Returns
    -------
    LanguageModel | None
        The model.
    """
    if source is None:
        return None
    if callable(source):
        return source(tokens)
    if str(source).endswith((".arpa", ".arpa.gz")):
        return NGramModel(source, tokens.names)
    return KenLMModel(source, tokens.names)


def viterbi_search(tokens_file: str | Path, *, replabel: int = REPLABEL) -> LexiconFreeSearch:
    """Return the search for the best path alone: a beam of all tokens, without a language model.

    Arguments
    ---------
    tokens_file : str | Path
        One token a line.
    replabel : int
        Repetition labels.

    Returns
    -------
    LexiconFreeSearch
        The search; exact, since there is one hypothesis for each token.
    """
    tokens = TokenSet.load(tokens_file, replabel=replabel)
    options = BeamOptions(beam_size=len(tokens), beam_threshold=float("inf"))
    return LexiconFreeSearch(tokens, NoLanguageModel(len(tokens)), options=options)


def lexicon_free_search(
    tokens_file: str | Path,
    *,
    lm: ModelSource = None,
    options: BeamOptions | None = None,
    replabel: int = REPLABEL,
) -> LexiconFreeSearch:
    """Return the search over letters with an n-gram model of letters.

    Arguments
    ---------
    tokens_file : str | Path
        One token a line.
    lm : ModelSource
        See `language_model`.
    options : BeamOptions | None
        Widths and weights.
    replabel : int
        Repetition labels.

    Returns
    -------
    LexiconFreeSearch
        The search.
    """
    tokens = TokenSet.load(tokens_file, replabel=replabel)
    return LexiconFreeSearch(tokens, language_model(lm, tokens), options=options)


def lexicon_search(
    tokens_file: str | Path,
    *,
    lexicon: str | Path,
    lm: LexiconModelSource = None,
    level: Literal["word", "token"] = "word",
    options: BeamOptions | None = None,
    replabel: int = REPLABEL,
) -> LexiconSearch:
    """Return the search over the words of a lexicon with a model of words or letters.

    Arguments
    ---------
    tokens_file : str | Path
        One token a line.
    lexicon : str | Path
        Words and spellings.
    lm : LexiconModelSource
        See `LexiconSearch`.
    level : Literal["word", "token"]
        What the language model scores.
    options : BeamOptions | None
        Widths and weights.
    replabel : int
        Repetition labels.

    Returns
    -------
    LexiconSearch
        The search.
    """
    tokens = TokenSet.load(tokens_file, replabel=replabel)
    return LexiconSearch(tokens, lexicon, lm, level=level, options=options)


def seq2seq_search(
    tokens_file: str | Path,
    *,
    lm: ModelSource = None,
    options: Seq2SeqOptions | None = None,
    end: str = "</s>",
) -> Seq2SeqSearch:
    """Return the search of the attention decoder with an n-gram model of word pieces.

    Arguments
    ---------
    tokens_file : str | Path
        One token a line.
    lm : ModelSource
        See `language_model`; the end token is the model's own end of a sentence.
    options : Seq2SeqOptions | None
        Widths and weights.
    end : str
        Token that ends an utterance.

    Returns
    -------
    Seq2SeqSearch
        The search.
    """
    tokens = TokenSet.load(tokens_file, separator="_", replabel=0)
    return Seq2SeqSearch(tokens, language_model(lm, tokens), options=options, end=end)


def best_of(search: Any, emissions: Tensor, transitions: Tensor) -> Hypothesis:
    """Return the best hypothesis of an utterance; one without words if nothing was found.

    Arguments
    ---------
    search : Any
        Over emissions, with a lexicon or without.
    emissions : Tensor
        [T, V].
    transitions : Tensor
        [V, V].

    Returns
    -------
    Hypothesis
        The best one.
    """
    with torch.inference_mode():
        found: list[Hypothesis] = search.search(emissions, transitions)
    return found[0] if found else Hypothesis([], float("-inf"), [])
