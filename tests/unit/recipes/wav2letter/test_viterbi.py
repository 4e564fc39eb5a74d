"""The best path against enumeration."""

from itertools import product

import torch

from recipes.LibriSpeech.wav2letter.viterbi import viterbi
from tests.unit.recipes.wav2letter.reference import ragged, score


def test_best_path_equals_enumeration():
    x, g, _, frames, _ = ragged(num_tokens=3, frames=[6, 3, 1], lengths=[1, 1, 1], seed=4)
    x, g = x.float(), g.float()
    for row, path in enumerate(viterbi(x, frames, g)):
        paths = product(range(3), repeat=int(frames[row]))
        best = max(paths, key=lambda p: float(score(x[row], g, p)))  # noqa: B023
        assert path == list(best)


def test_transitions_overrule_the_best_token_of_a_frame():
    x = torch.tensor([[[2.0, 0.0], [0.0, 1.0], [2.0, 0.0]]])
    frames = torch.tensor([3])
    assert viterbi(x, frames, torch.zeros(2, 2)) == [[0, 1, 0]]
    assert viterbi(x, frames, 4 * torch.eye(2)) == [[0, 0, 0]]
