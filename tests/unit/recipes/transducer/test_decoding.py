"""The batched search finds what the search of one utterance finds."""

import pytest
import torch

from recipes.LibriSpeech.ASR.transducer.decoding import (
    GreedySearcher,
    OneByOneSearcher,
    search_one,
)
from tests.unit.recipes.transducer.tiny import tiny_model

BLANK = 8


def parts(blank_bias):
    model = tiny_model()
    torch.nn.init.normal_(
        model.joint.joint_net.weight, std=0.8, generator=torch.Generator().manual_seed(2)
    )
    with torch.no_grad():
        model.joint.joint_net.bias[BLANK] = blank_bias
    return model.predictor.eval(), model.joint.eval()


def encoded(lengths):
    generator = torch.Generator().manual_seed(4)
    enc = 2 * torch.randn(len(lengths), max(lengths), 10, generator=generator)
    return enc, torch.tensor(lengths)


@pytest.mark.parametrize("window", [1, 3, 8])
@pytest.mark.parametrize("blank_bias", [-1.0, 0.5, 2.0])
def test_batched_search_equals_one_by_one(window, blank_bias):
    predictor, joint = parts(blank_bias)
    enc, lengths = encoded([23, 1, 9, 16])
    limits = {"max_per_step": 5, "max_tokens": 40}
    batched = GreedySearcher(predictor, joint, window=window, **limits)(enc, lengths)
    alone = OneByOneSearcher(predictor, joint, **limits)(enc, lengths)
    assert batched == alone
    assert any(batched)
    assert all(BLANK not in tokens for tokens in batched)


def test_search_ignores_what_lies_beyond_the_lengths():
    predictor, joint = parts(0.5)
    enc, lengths = encoded([20, 7])
    changed = enc.clone()
    changed[1, 7:] = 100.0
    search = GreedySearcher(predictor, joint, max_per_step=5)
    assert search(enc, lengths) == search(changed, lengths)


def test_search_keeps_both_limits():
    predictor, joint = parts(-100.0)  # never a blank
    enc, lengths = encoded([4, 20])
    found = GreedySearcher(predictor, joint)(enc, lengths)
    assert [len(tokens) for tokens in found] == [4 * 30, 300]
    assert [len(search_one(predictor, joint, enc[i, :n])) for i, n in ((0, 4), (1, 20))] == [
        120,
        300,
    ]


def test_search_of_blanks_only_is_empty():
    predictor, joint = parts(100.0)
    enc, lengths = encoded([4, 20])
    assert GreedySearcher(predictor, joint)(enc, lengths) == [[], []]
