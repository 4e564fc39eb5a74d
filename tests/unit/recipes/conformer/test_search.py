"""Beam search: exact on a table of probabilities, bounds, repeats, forced tags, batches."""

import itertools
import math

import pytest
import torch

from recipes.MuSTC.ST.conformer.decoder import DecoderState
from recipes.MuSTC.ST.conformer.search import BeamSearcher
from tests.unit.recipes.conformer.models import load_model

EOS = 1


class TableDecoder:
    """A decoder whose next token depends on the last one alone: logits[last]."""

    def __init__(self, logits):
        self.logits = logits
        self.seen = []

    def start(self, states, lengths):
        return DecoderState([], torch.zeros(len(states), 1, 1, 1))

    def step(self, tokens, state):
        self.seen.append(tokens.tolist())
        return self.logits[tokens], state


def best_by_trying_all(logits, *, start, max_tokens, power=1.0):
    """The best sequence of all there are, and its score."""
    logp = logits.log_softmax(-1)
    found = []
    others = [token for token in range(len(logits)) if token != EOS]
    for length in range(1, max_tokens + 1):
        for tokens in itertools.product(others, repeat=length):
            path = [start, *tokens, EOS]
            score = sum(float(logp[a, b]) for a, b in itertools.pairwise(path))
            found.append((score / (length + 1) ** power, list(tokens)))
    return max(found)


@pytest.mark.parametrize("seed", range(5))
def test_wide_beam_finds_the_best_of_all_sequences(seed):
    logits = 2 * torch.randn(4, 4, generator=torch.Generator().manual_seed(seed))
    search = BeamSearcher(eos_index=EOS, beam_size=200, max_tokens=3, no_repeat=None)
    found = search(
        TableDecoder(logits), torch.zeros(1, 1, 1), torch.tensor([1]), torch.tensor([[0]])
    )
    assert found[0] == best_by_trying_all(logits, start=0, max_tokens=3)[1]


def test_greedy_search_follows_the_best_token():
    logits = torch.full((5, 5), -5.0)
    for last, following in ((0, 3), (3, 4), (4, 2), (2, EOS)):
        logits[last, following] = 5.0
    search = BeamSearcher(eos_index=EOS, beam_size=1)
    found = search(
        TableDecoder(logits), torch.zeros(2, 1, 1), torch.ones(2), torch.tensor([[0], [4]])
    )
    assert found == [[3, 4, 2], [2]]


def test_search_keeps_to_the_bounds_of_length():
    never = torch.zeros(3, 3)
    never[:, EOS] = -50.0
    at_once = torch.zeros(3, 3)
    at_once[:, EOS] = 50.0
    search = BeamSearcher(eos_index=EOS, beam_size=2, max_tokens=7, min_tokens=3, no_repeat=None)
    start = torch.tensor([[0]])
    for table, length in ((never, 7), (at_once, 3)):
        assert (
            len(search(TableDecoder(table), torch.zeros(1, 1, 1), torch.ones(1), start)[0])
            == length
        )


def test_search_never_repeats_a_sequence_of_five():
    cycle = torch.full((6, 6), -3.0)
    for last, following in ((0, 2), (2, 3), (3, 4), (4, 2)):
        cycle[last, following] = 5.0
    cycle[:, EOS] = -9.0
    options = {"eos_index": EOS, "beam_size": 3, "max_tokens": 40}
    arguments = torch.zeros(1, 1, 1), torch.ones(1), torch.tensor([[0]])
    free = BeamSearcher(**options, no_repeat=None)(TableDecoder(cycle), *arguments)[0]
    bound = BeamSearcher(**options, no_repeat=5)(TableDecoder(cycle), *arguments)[0]
    windows = [tuple(bound[i : i + 5]) for i in range(len(bound) - 4)]
    assert len(windows) == len(set(windows)) > 1
    assert free[:9] == [2, 3, 4] * 3


def test_forbidden_tokens_are_never_chosen():
    logits = torch.zeros(6, 6)
    logits[:, 0] = logits[:, 2] = 9.0
    search = BeamSearcher(eos_index=EOS, forbidden=[0, 2], beam_size=4, max_tokens=9)
    found = search(
        TableDecoder(logits), torch.zeros(3, 1, 1), torch.ones(3), torch.tensor([[0]] * 3)
    )
    assert not {0, 2} & {token for tokens in found for token in tokens}


def test_prefix_is_given_first_and_not_returned():
    logits = torch.full((6, 6), -5.0)
    logits[4, 5] = logits[5, EOS] = 5.0
    decoder = TableDecoder(logits)
    search = BeamSearcher(eos_index=EOS, beam_size=2)
    found = search(decoder, torch.zeros(1, 1, 1), torch.ones(1), torch.tensor([[0, 4]]))
    assert decoder.seen[:2] == [[0], [4]]
    assert found == [[5]]


@pytest.fixture(scope="module")
def encoded():
    """A tiny model with sharp outputs, and ten encoded utterances, one of a single step."""
    model = load_model(target_vocab_size=40, max_target_tokens=15, no_repeat_ngram=None)
    torch.manual_seed(5)
    with torch.no_grad():
        model["decoder"].head.weight.mul_(4)
    lengths = torch.tensor([25, 3, 14, 9, 20, 2, 1, 24, 7, 11])
    return model, torch.randn(len(lengths), 25, 16), lengths


@pytest.mark.parametrize("name", ["greedy_search", "beam_search"])
@pytest.mark.parametrize("size", [1, 3, 7])  # beside all ten
def test_text_does_not_depend_on_the_batch(encoded, name, size):
    model, states, lengths = encoded
    decoder, search = model["decoder"].eval(), model[name]
    prefix = torch.full((10, 1), 2)
    together = search(decoder, states, lengths, prefix)
    parts = []
    for first in range(0, 10, size):
        part = slice(first, first + size)
        longest = int(lengths[part].max())
        parts += search(decoder, states[part, :longest], lengths[part], prefix[part])
    assert parts == together
    assert all(1 <= len(tokens) <= 15 for tokens in together)
    assert len({tuple(tokens) for tokens in together}) > 1


def test_greedy_equals_the_decoder_run_on_its_own_output(encoded):
    model, states, lengths = encoded
    decoder = model["decoder"].eval()
    found = model["greedy_search"](decoder, states, lengths, torch.full((10, 1), 2))
    for number, tokens in enumerate(found):
        fed = torch.tensor([[2, *tokens]])
        with torch.no_grad():
            row = slice(number, number + 1)
            logits = decoder(fed, states[row], lengths[row])[0]
        logits[:, [0, 2]] = -math.inf
        logits[0, 3] = -math.inf
        assert logits[: len(tokens)].argmax(-1).tolist() == tokens


def test_wrong_options_are_named_at_once():
    with pytest.raises(ValueError, match=r"beam_size is 0.*min_tokens is 3.*no_repeat is 0"):
        BeamSearcher(eos_index=1, beam_size=0, min_tokens=3, max_tokens=2, no_repeat=0)
