"""The search of the attention decoder: against all token sequences, and each of its rules."""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from recipes.LibriSpeech.wav2letter.attention import AttentionDecoder
from recipes.LibriSpeech.wav2letter.decoding.options import Seq2SeqOptions
from recipes.LibriSpeech.wav2letter.decoding.seq2seq import Seq2SeqSearch
from recipes.LibriSpeech.wav2letter.tokens import TokenSet
from tests.unit.recipes.wav2letter_decoding.exhaustive import lm_score
from tests.unit.recipes.wav2letter_decoding.test_lexicon_free import neural

TOKENS = TokenSet(("_a", "b", "_c", "</s>"), separator="_", replabel=0)
END = 3
OPEN = Seq2SeqOptions(
    beam_size=5000,
    beam_threshold=1e6,
    eos_threshold=float("inf"),
    soft_selection=float("inf"),
    max_attention_shift=None,
    max_steps=5,
)


@dataclass
class ToyState:
    """Hidden state with `select`, as the recipe's decoder has it."""

    hidden: Tensor

    def select(self, places: Tensor) -> "ToyState":
        return ToyState(self.hidden[places])


class ToyDecoder(torch.nn.Module):
    """A GRU that hears the mean of the encoder output; its attention moves as it is told."""

    def __init__(self, seed: int = 0, *, shift: int = 1, scale: float = 2.0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embedding = torch.nn.Embedding(5, 6)
        self.gru = torch.nn.GRUCell(6, 6)
        self.out = torch.nn.Linear(6, 4)
        self.shift, self.scale, self.num_steps = shift, scale, 0
        for parameter in self.parameters():
            torch.nn.init.normal_(parameter)

    def initial_state(self, encoded: Tensor, lengths: Tensor) -> ToyState:
        assert encoded.shape[1] == int(lengths[0])
        self.num_steps = 0
        return ToyState(encoded.mean(1))

    def step(self, tokens: Tensor, state: ToyState) -> tuple[Tensor, ToyState, Tensor]:
        hidden = self.gru(self.embedding(tokens), state.hidden)
        attention = torch.zeros(len(tokens), 50)
        attention[:, min(49, self.num_steps * self.shift)] = 1
        self.num_steps += 1
        return (self.scale * self.out(hidden)).log_softmax(-1), ToyState(hidden), attention


def recipe_decoder(seed: int) -> AttentionDecoder:
    """The recipe's decoder, small, with larger weights than it begins with."""
    torch.manual_seed(seed)
    decoder = AttentionDecoder(num_tokens=4, size=8)
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter)
    return decoder


def logp_of(decoder: torch.nn.Module, encoded: Tensor, tokens: list[int]) -> Tensor:
    """[U + 1, V] log-probabilities along a token sequence."""
    state = decoder.initial_state(encoded[None], torch.tensor([len(encoded)]))
    rows = []
    for token in [4, *tokens]:
        logp, state, _ = decoder.step(torch.tensor([token]), state)
        rows.append(logp[0])
    return torch.stack(rows)


def best_sequence(decoder, encoded, *, options, model=None, is_allowed=None):
    """The best completed sequence of at most max_steps tokens with the end."""
    best = (-np.inf, [])
    for length in range(options.max_steps):
        for tokens in product(range(3), repeat=length):
            logp = logp_of(decoder, encoded, list(tokens)).double()
            if is_allowed is not None and not is_allowed(logp, tokens):
                continue
            total = float(logp[torch.arange(length + 1), torch.tensor([*tokens, END])].sum())
            total += options.word_score * length
            if model is not None:
                total += options.lm_weight * lm_score(model, list(tokens))
            best = max(best, (total, list(tokens)))
    return best


def encoder_output(width: int) -> Tensor:
    return torch.randn(9, width, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def encoded() -> Tensor:
    return encoder_output(6)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", ["none", "n-gram", "network"])
@pytest.mark.parametrize(("make", "width"), [(ToyDecoder, 6), (recipe_decoder, 16)])
@torch.no_grad()
def test_search_finds_the_best_of_all_sequences(small_model, seed, kind, make, width):
    decoder, encoded = make(seed), encoder_output(width)
    model = {"none": None, "n-gram": small_model, "network": neural(seed)}[kind]
    options = replace(OPEN, lm_weight=0.7 if model else 0.0, word_score=0.9)
    found = Seq2SeqSearch(TOKENS, model, options=options).search(decoder, encoded)[0]
    score, tokens = best_sequence(decoder, encoded, options=options, model=model)
    assert found.tokens == tokens
    assert found.score == pytest.approx(score, abs=1e-5)
    assert found.text == "".join(TOKENS.names[t] for t in tokens).replace("_", " ").strip()


@pytest.mark.parametrize("seed", range(6))
@torch.no_grad()
def test_end_threshold_and_soft_selection(encoded, seed):
    decoder = ToyDecoder(seed)
    options = replace(OPEN, eos_threshold=1.5, soft_selection=1.0, word_score=0.5)

    def is_allowed(logp, tokens):
        best = logp.max(-1).values
        chosen = logp[torch.arange(len(tokens)), list(tokens)] if tokens else logp[:0, 0]
        is_open = bool((chosen >= best[:-1] - 1.0).all())
        return is_open and bool(logp[-1, END] >= 1.5 * best[-1])

    found = Seq2SeqSearch(TOKENS, options=options).search(decoder, encoded)
    score, tokens = best_sequence(decoder, encoded, options=options, is_allowed=is_allowed)
    if score == -np.inf:
        assert found == []
    else:
        assert found[0].tokens == tokens
        assert found[0].score == pytest.approx(score, abs=1e-5)


def test_attention_limit_of_zero_completes_nothing_and_is_counted(encoded):
    search = Seq2SeqSearch(TOKENS, options=replace(OPEN, max_attention_shift=0))
    assert search.search(ToyDecoder(), encoded) == []
    rows = search(ToyDecoder(), torch.stack([encoded, encoded]), torch.tensor([9, 5]))
    assert rows == [[], []]
    assert search.num_incomplete == 2


@pytest.mark.parametrize(("limit", "is_found"), [(2, False), (3, True), (None, True)])
def test_attention_limit_drops_what_jumps_further(encoded, limit, is_found):
    # The first step comes from -1: one frame more than the shift of the others is 0.
    search = Seq2SeqSearch(TOKENS, options=replace(OPEN, max_attention_shift=limit))
    found = search.search(ToyDecoder(1, shift=3), encoded, num_best=500)
    assert any(len(hypothesis.tokens) == 4 for hypothesis in found) == is_found


@torch.no_grad()
def test_beam_threshold_drops_the_rest(encoded):
    found = Seq2SeqSearch(TOKENS, options=replace(OPEN, beam_threshold=2.0)).search(
        ToyDecoder(2), encoded, num_best=100
    )
    scores = [hypothesis.score for hypothesis in found]
    assert scores
    assert max(scores) - min(scores) <= 2.0


def test_batch_equals_single_utterances(encoded):
    decoder, search = ToyDecoder(3), Seq2SeqSearch(TOKENS, options=OPEN)
    rows = search(decoder, torch.stack([encoded, encoded.flip(0)]), torch.tensor([9, 4]))
    singles = [encoded, encoded.flip(0)[:4]]
    assert rows == [search.search(decoder, one)[0].tokens for one in singles]


def test_no_frame_gives_no_word():
    assert Seq2SeqSearch(TOKENS).search(ToyDecoder(), torch.zeros(0, 6))[0].words == []


def test_wrong_options_are_told_at_once():
    with pytest.raises(ValueError, match=r"sil_weight is 1.*eos_threshold is 0.5.*max_steps is 0"):
        Seq2SeqOptions(sil_weight=1.0, eos_threshold=0.5, max_steps=0)


def test_the_defaults_are_the_paper_s():
    options = Seq2SeqOptions()
    assert (options.beam_size, options.beam_threshold, options.max_steps) == (80, 7.0, 120)
    assert (options.eos_threshold, options.soft_selection) == (1.5, 10.0)
    assert options.max_attention_shift == 30
