"""Greedy CTC search."""

import torch

from recipes.common.decoding import CTCGreedySearcher


def search(frames: list[list[int]], lens: list[float]) -> list[list[int]]:
    logits = torch.nn.functional.one_hot(torch.tensor(frames), 4).float()
    searcher = CTCGreedySearcher(torch.nn.Identity(), blank_index=0)
    return searcher(logits, torch.tensor(lens))[0]


def test_ctc_greedy_merges_repeats_and_drops_blanks():
    assert search([[1, 1, 0, 1, 2, 2]], [1.0]) == [[1, 1, 2]]


def test_ctc_greedy_ignores_padding():
    assert search([[1, 2, 3, 3], [3, 1, 2, 2]], [1.0, 0.5]) == [[1, 2, 3], [3, 1]]


def test_ctc_greedy_only_blanks_gives_nothing():
    assert search([[0, 0]], [1.0]) == [[]]
