"""Without the optional packages: what to install."""

import sys
from importlib.util import find_spec

import pytest
import torch

from recipes.LibriSpeech.wav2letter.decoding import kenlm_model
from recipes.LibriSpeech.wav2letter.decoding.kenlm_model import KenLMModel
from recipes.LibriSpeech.wav2letter.decoding.lexicon import LexiconSearch


def forget(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    for name in modules:
        monkeypatch.setitem(sys.modules, name, None)


def test_lexicon_search_without_flashlight_text_says_what_to_install(
    small_tokens, tmp_path, monkeypatch
):
    forget(monkeypatch, "flashlight.lib.text.decoder")
    path = tmp_path / "lexicon.txt"
    path.write_text("ab\ta b |\n")
    with pytest.raises(ImportError, match="with a lexicon.*pip install flashlight-text"):
        LexiconSearch(small_tokens, path).search(torch.zeros(2, 4), torch.zeros(4, 4))


def test_kenlm_model_without_either_package_says_what_to_install(
    small_arpa, small_tokens, monkeypatch
):
    forget(monkeypatch, "flashlight.lib.text.decoder.kenlm")
    monkeypatch.setattr(
        kenlm_model, "find_spec", lambda name: None if name == "kenlm" else find_spec(name)
    )
    with pytest.raises(ImportError, match="small.arpa.*pip install flashlight-text"):
        KenLMModel(small_arpa, small_tokens.names)
