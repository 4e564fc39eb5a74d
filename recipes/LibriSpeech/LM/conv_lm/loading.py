"""A trained language model for the beam searches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from recipes.common.yaml_build import build
from recipes.LibriSpeech.LM.conv_lm.text import END, UNKNOWN, Vocabulary
from recipes.LibriSpeech.wav2letter.decoding.neural_lm import NeuralModel
from recipes.LibriSpeech.wav2letter.tokens import TokenSet


def conv_lm(
    tokens: TokenSet | Sequence[str],
    *,
    folder: str | Path,
    device: str = "cpu",
    batch_size: int = 1000,
) -> NeuralModel:
    """Load the best checkpoint of a run.

    Arguments
    ---------
    tokens : TokenSet | Sequence[str]
        Of the acoustic model; each must be a word of the language model. Or the words of a lexicon;
        those that the language model lacks are its unknown word.
    folder : str | Path
        The run's output folder.
    device : str
        Where the network computes.
    batch_size : int
        Histories of one call of the network, at most.

    Returns
    -------
    NeuralModel
        The model, its scores being natural logarithms.

    Raises
    ------
    FileNotFoundError
        If there is no run, or it has no checkpoint.
    ValueError
        If it lacks tokens.
    """
    path = Path(folder) / "hyperparams.yaml"
    if not path.is_file():
        raise FileNotFoundError(f"ConvLM: {path} is absent; expected the output folder of a run.")
    hparams = build(path.read_text(encoding="utf-8"), where=str(path))
    if hparams["checkpointer"].recover_modules(min_key=hparams["valid_metric"]) is None:
        raise FileNotFoundError(f"ConvLM: {folder} has no checkpoint; expected one; train first.")
    numbers = Vocabulary(Path(hparams["tokens_file"])).numbers()
    if isinstance(tokens, TokenSet):
        words = _words_of_tokens(tokens, numbers, folder=folder)
    else:
        words = [numbers.get(name, UNKNOWN) for name in tokens]
    network = hparams["modules"]["model"].fold().to(torch.device(device))
    return NeuralModel(network, words, start_word=END, end_word=END, batch_size=batch_size)


def _words_of_tokens(tokens: TokenSet, numbers: dict[str, int], *, folder: str | Path) -> list[int]:
    end_name = {"</s>": END}  # of word pieces: the model's own end of a sentence
    words = [numbers.get(name, end_name.get(name, -1)) for name in tokens.names]
    lacking = [name for name, word in zip(tokens.names, words, strict=True) if word < 0]
    if lacking:
        raise ValueError(
            f"ConvLM {folder}: lacks the tokens {lacking[:5]}; expected those of the acoustic "
            "model; train it with the same tokens_file."
        )
    return words
