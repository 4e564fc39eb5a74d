"""Emissions on disk, searches named in run files, and decode.py."""

import json
import pickle
from functools import partial

import pytest
import torch

import decode
from recipes.LibriSpeech.wav2letter.decoding.decode_sets import decode_set
from recipes.LibriSpeech.wav2letter.decoding.emissions import (
    EmissionSet,
    EmissionWriter,
    Heard,
    sets_in,
)
from recipes.LibriSpeech.wav2letter.decoding.options import BeamOptions
from recipes.LibriSpeech.wav2letter.decoding.searches import (
    Deferred,
    chosen,
    language_model,
    lexicon_free_search,
    lexicon_search,
    seq2seq_search,
    viterbi_search,
)
from recipes.LibriSpeech.wav2letter.preparation.ngram_training import train_ngram
from recipes.LibriSpeech.wav2letter.tokens import letter_tokens
from tests.conftest import ROOT

HPARAMS = ROOT / "recipes/LibriSpeech/wav2letter/hparams"
TOKENS = letter_tokens()
SAID = {"u1": "HELLO WORLD", "u2": "A GOOD BOOK", "u3": "EGGS"}


@pytest.fixture
def folder(tmp_path):
    """Tokens, a language model, and emissions in which every third letter is unclear."""
    TOKENS.save(tmp_path / "tokens.txt")
    lines = []
    with EmissionWriter(tmp_path / "emissions" / "test", torch.zeros(30, 30)) as writer:
        for name, text in SAID.items():
            tokens = [0, *(t for w in text.lower().split() for t in (*TOKENS.spell(w), 0))]
            x = torch.zeros(2 * len(tokens), 30)
            x[torch.arange(len(x)), torch.tensor(tokens).repeat_interleave(2)] = 4.0
            x[4::6] = 0
            x[5::6] = 0
            writer.add(Heard(name, text, "clean", len(x)), x)
            lines.append(" ".join(TOKENS.names[t] for t in tokens[1:]))
    train_ngram(lines * 3, tmp_path / "letters.arpa", order=5, tokens=TOKENS.names)
    return tmp_path


def test_emissions_come_back(folder):
    found = EmissionSet(folder / "emissions" / "test")
    assert [heard.text for heard in found.utterances] == list(SAID.values())
    assert found.emissions(1).shape == (found.utterances[1].num_frames, 30)
    assert found.emissions(0).max() == 4
    assert pickle.loads(pickle.dumps(found)).emissions(2).equal(found.emissions(2))
    assert [name for name, _ in sets_in(folder / "emissions")] == ["test"]


def test_emissions_of_a_killed_writer_are_not_there(tmp_path):
    with pytest.raises(RuntimeError), EmissionWriter(tmp_path, torch.zeros(2, 2)):
        raise RuntimeError
    assert not list(tmp_path.iterdir())
    with pytest.raises(FileNotFoundError, match="finished set"):
        EmissionSet(tmp_path)


def test_emissions_of_a_wrong_shape_are_refused(tmp_path):
    with (
        pytest.raises(ValueError, match="expected"),
        EmissionWriter(tmp_path, torch.zeros(2, 2)) as writer,
    ):
        writer.add(Heard("u", "A", "", 3), torch.zeros(4, 2))


def test_deferred_search_is_made_when_used(folder):
    search = Deferred(partial(viterbi_search, folder / "later.txt"))
    (folder / "later.txt").write_bytes((folder / "tokens.txt").read_bytes())
    x = torch.zeros(1, 3, 30)
    x[0, :, 1] = 1
    assert pickle.loads(pickle.dumps(search))(x, torch.tensor([3]), torch.zeros(30, 30)) == [
        [1] * 3
    ]


def test_search_is_chosen_by_its_name():
    assert chosen("a", {"a": 1, "b": 2}) == 1
    with pytest.raises(ValueError, match=r"test_with: is 'c'; expected one of \['a', 'b'\]"):
        chosen("c", {"a": 1, "b": 2})


def test_language_model_by_name(folder):
    assert language_model(None, TOKENS) is None
    assert language_model(folder / "letters.arpa", TOKENS).unit == "log10"
    made = language_model(lambda tokens: len(tokens), TOKENS)
    assert made == 30
    assert seq2seq_search(folder / "tokens.txt", end="z").end == 27


def test_language_model_mends_what_is_unclear(folder):
    best = {}
    for name, lm in {"without": None, "with": folder / "letters.arpa"}.items():
        options = BeamOptions(lm_weight=2.0)
        make = partial(lexicon_free_search, folder / "tokens.txt", lm=lm, options=options)
        best[name] = decode_set(make, folder / "emissions" / "test")
    assert best["with"].scores.summarise()["wer"] == 0
    assert best["without"].scores.summarise()["wer"] > 0
    assert best["with"].num_lost == 0


@pytest.mark.multiproc
def test_several_processes_decode_alike(folder):
    make = partial(lexicon_free_search, folder / "tokens.txt", lm=folder / "letters.arpa")
    one, two = (decode_set(make, folder / "emissions" / "test", num_jobs=jobs) for jobs in (1, 2))
    assert one.scores == two.scores


def test_decode_writes_results(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    path = HPARAMS / "decode_letters.yaml"
    options = {
        "decoding_folder": folder,
        "lm": folder / "letters.arpa",
        "emissions_folder": folder / "emissions",
        "output_folder": folder / "out",
        "options.lm_weight": 2.0,
    }
    words = [str(word) for key, value in options.items() for word in (f"--{key}", value)]
    assert decode.main([str(path), *words]) == 0
    assert "WER" in capsys.readouterr().out
    record = json.loads((folder / "out" / "decode.json").read_text())
    assert record["results"]["test"]["wer"] == 0
    assert record["overrides"]["options.lm_weight"] == 2.0
    assert "HELLO WORLD" in (folder / "out" / "alignments" / "test.txt").read_text()


def test_decode_without_emissions_tells_what_to_give(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    path = HPARAMS / "decode_words.yaml"
    empty = ["--emissions_folder", str(folder / "none"), "--output_folder", str(folder / "out")]
    with pytest.raises(SystemExit) as ended:
        decode.main([str(path), *empty])
    assert ended.value.code == 2
    assert "--run_file" in capsys.readouterr().err


def test_lexicon_search_is_named_too(folder):
    pytest.importorskip("flashlight.lib.text.decoder")
    (folder / "lexicon.txt").write_text("hello\th e l 1 o |\nworld\tw o r l d |\n")
    make = partial(lexicon_search, folder / "tokens.txt", lexicon=folder / "lexicon.txt")
    found = decode_set(make, folder / "emissions" / "test").scores.items
    assert found[0].hypothesis == "HELLO WORLD"
