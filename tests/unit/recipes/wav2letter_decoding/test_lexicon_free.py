"""The lexicon-free search: against all paths, against a plain beam, with networks."""

import numpy as np
import pytest
import torch
from torch import Tensor

from recipes.LibriSpeech.wav2letter.decoding.language_model import NoLanguageModel
from recipes.LibriSpeech.wav2letter.decoding.lexicon_free import LexiconFreeSearch
from recipes.LibriSpeech.wav2letter.decoding.neural_lm import NeuralModel
from recipes.LibriSpeech.wav2letter.decoding.options import BeamOptions
from recipes.LibriSpeech.wav2letter.decoding.searches import viterbi_search
from tests.unit.recipes.wav2letter_decoding.exhaustive import best_path, plain_beam

WEIGHTS = {"lm_weight": 1.7, "word_score": 0.6, "sil_weight": -0.4}
WIDE = BeamOptions(beam_size=10_000, beam_threshold=1e6, **WEIGHTS)


class ToyNetwork(torch.nn.Module):
    """A GRU over words; counts what it is asked."""

    def __init__(self, num_words: int, size: int = 8) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(num_words, size)
        self.gru = torch.nn.GRUCell(size, size)
        self.out = torch.nn.Linear(size, num_words)
        self.batches: list[int] = []
        for parameter in self.parameters():
            torch.nn.init.normal_(parameter)

    def initial_state(self, batch: int) -> tuple[Tensor, ...]:
        return (torch.zeros(batch, self.gru.hidden_size),)

    def step(self, words: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        self.batches.append(len(words))
        hidden = self.gru(self.embedding(words), state[0])
        return self.out(hidden).log_softmax(-1), (hidden,)


def make(seed: int, num_frames: int, num_tokens: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(num_frames, num_tokens, generator=generator, dtype=torch.float64)
    g = torch.randn(num_tokens, num_tokens, generator=generator, dtype=torch.float64)
    return 2 * x, g


def neural(seed: int = 0, *, num_tokens: int = 4, **options: int) -> NeuralModel:
    torch.manual_seed(seed)
    network = ToyNetwork(3 + num_tokens)
    words = range(3, 3 + num_tokens)
    return NeuralModel(network, words, start_word=2, end_word=2, **options)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["none", "n-gram", "network"])
def test_search_finds_the_best_of_all_paths(small_tokens, small_model, seed, kind):
    x, g = make(seed, 5)
    model = {"none": NoLanguageModel(4), "n-gram": small_model, "network": neural(seed)}[kind]
    found = LexiconFreeSearch(small_tokens, model, options=WIDE).search(x, g)[0]
    score, path = best_path(x, g, model=model, options=WIDE, sil=0)
    assert found.tokens == list(path)
    assert found.score == pytest.approx(score, abs=1e-5)
    assert found.words == small_tokens.words_of_path(path)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("beam", [(1, 1e6), (3, 1e6), (5, 3.0), (20, 2.0)])
def test_narrow_beam_equals_the_plain_one(small_tokens, small_model, seed, beam):
    x, g = make(seed, 25)
    options = BeamOptions(beam_size=beam[0], beam_threshold=beam[1], **WEIGHTS)
    found = LexiconFreeSearch(small_tokens, small_model, options=options).search(x, g)[0]
    score, path = plain_beam(x, g, model=small_model, options=options, sil=0)
    assert found.score == pytest.approx(score, abs=1e-6)
    assert found.tokens == path


def test_transitions_decide(small_tokens):
    x = torch.zeros(3, 4)
    g = torch.zeros(4, 4)
    g[1, 0], g[2, 1] = 5, 5  # from | to a, from a to b: [to, from]
    found = LexiconFreeSearch(small_tokens, options=BeamOptions()).search(x, g)[0]
    assert found.tokens == [0, 1, 2]
    assert found.score == pytest.approx(10)


def test_word_score_and_silence_by_hand(small_tokens):
    options = BeamOptions(word_score=3.0, sil_weight=-1.0)
    x = torch.full((4, 4), -10.0)
    x[[0, 1, 2, 3], [1, 0, 0, 2]] = 0  # a | | b
    found = LexiconFreeSearch(small_tokens, options=options).search(x, torch.zeros(4, 4))[0]
    assert found.words == ["a", "b"]
    assert found.score == pytest.approx(3.0 - 2.0)


def test_first_frame_has_no_transition_and_silence_is_no_entry(small_tokens):
    options = BeamOptions(word_score=100.0)
    g = torch.full((4, 4), -50.0)
    found = LexiconFreeSearch(small_tokens, options=options).search(torch.zeros(1, 4), g)[0]
    assert found.score == 0


def test_several_best_are_sorted_and_differ(small_tokens, small_model):
    x, g = make(1, 5)
    found = LexiconFreeSearch(small_tokens, small_model, options=WIDE).search(x, g, num_best=5)
    scores = [hypothesis.score for hypothesis in found]
    assert scores == sorted(scores, reverse=True)
    assert len({tuple(hypothesis.tokens) for hypothesis in found}) == 5


def test_batch_equals_single_utterances(small_tokens, small_model):
    search = LexiconFreeSearch(small_tokens, small_model, options=WIDE)
    x, g = make(4, 7)
    paths = search(torch.stack([x, x.flip(0)]), torch.tensor([7, 4]), g)
    assert paths == [search.search(x, g)[0].tokens, search.search(x.flip(0)[:4], g)[0].tokens]


def test_no_frame_gives_no_word(small_tokens, small_model):
    found = LexiconFreeSearch(small_tokens, small_model).search(
        torch.zeros(0, 4), torch.zeros(4, 4)
    )
    assert found[0].words == []


def test_viterbi_is_the_best_path_by_dynamic_programming(tmp_path):
    path = tmp_path / "tokens.txt"
    path.write_text("|\na\nb\n1\n2\n")
    x, g = make(3, 40, 5)
    score, origins = x[0], []
    for frame in x[1:]:
        arriving, origin = (score[None] + g).max(1)
        score = arriving + frame
        origins.append(origin)
    token = int(score.argmax())
    expected = [token]
    for origin in reversed(origins):
        expected.append(int(origin[expected[-1]]))
    assert viterbi_search(path).search(x, g)[0].tokens == expected[::-1]


def test_network_is_asked_in_batches_and_slots_are_freed(small_tokens):
    x, g = make(5, 60)
    model = neural(1, batch_size=16)
    options = BeamOptions(beam_size=40, lm_weight=1.0)
    narrow = LexiconFreeSearch(small_tokens, model, options=options)
    first = narrow.search(x, g)[0]
    batches = model.network.batches
    assert max(batches) == 16
    assert sum(batches) < 60 * 40
    assert int(model._is_taken.sum()) <= 40
    assert model._capacity < 1000
    other = LexiconFreeSearch(small_tokens, neural(1), options=options).search(x, g)[0]
    assert (first.tokens, first.score) == (other.tokens, pytest.approx(other.score, abs=1e-5))


def test_network_narrow_beam_equals_the_plain_one(small_tokens):
    x, g = make(2, 12)
    options = BeamOptions(beam_size=6, **WEIGHTS)
    found = LexiconFreeSearch(small_tokens, neural(2), options=options).search(x, g)[0]
    score, path = plain_beam(x, g, model=neural(2), options=options, sil=0)
    assert found.tokens == path
    assert found.score == pytest.approx(score, abs=1e-5)


@pytest.mark.parametrize(
    ("x", "told"),
    [(torch.zeros(3, 5), "as there are 4"), (torch.full((3, 4), torch.nan), "not finite")],
)
def test_wrong_emissions_are_told(small_tokens, x, told):
    with pytest.raises(ValueError, match=told):
        LexiconFreeSearch(small_tokens).search(x, torch.zeros(4, 4))


def test_wrong_options_are_told_at_once():
    with pytest.raises(ValueError, match=r"beam_size is 0.*beam_threshold is 0.*lm_weight is -1"):
        BeamOptions(beam_size=0, beam_threshold=0, lm_weight=-1)


def test_language_model_of_other_tokens_is_refused(small_tokens):
    with pytest.raises(ValueError, match="has 5 tokens"):
        LexiconFreeSearch(small_tokens, NoLanguageModel(5))


class Plain(NoLanguageModel):
    """Counts calls."""

    num_calls = 0

    def scores(self, states: np.ndarray) -> np.ndarray:
        self.num_calls += 1
        return super().scores(states)


def test_language_model_is_asked_once_a_frame(small_tokens):
    model = Plain(4)
    x, g = make(0, 30)
    LexiconFreeSearch(small_tokens, model, options=WIDE).search(x, g)
    assert model.num_calls == 30
