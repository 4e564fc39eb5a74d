"""Sequence splitting changes no valid output."""

import pytest
import torch

from recipes.LibriSpeech.ASR.transducer.splitting import Split, split_point
from tests.unit.recipes.transducer.tiny import tiny_model


@pytest.mark.parametrize(
    "frames", [[90, 61, 33, 20], [64, 40, 39, 5, 3], [50, 21], [50, 50, 7, 7, 7, 1]]
)
def test_split_encoder_equals_whole_on_valid_steps(frames):
    encoder = tiny_model().encoder
    feats = torch.randn(max(frames), len(frames), 12, generator=torch.Generator().manual_seed(1))
    lengths = torch.tensor(frames)
    whole, steps = encoder(feats, lengths)
    split, same = encoder(feats, lengths, host_frames=frames)
    assert torch.equal(steps, same)
    for row, other, length in zip(whole, split, steps.tolist(), strict=True):
        assert torch.allclose(row[:length], other[:length], atol=1e-5)


def test_split_point_is_at_the_median():
    assert split_point([100, 80, 41, 30], multiple=2) == Split(42, 2)
    assert Split(42, 2).divided(2) == Split(21, 2)


@pytest.mark.parametrize("frames", [None, [100], [50, 45, 40, 40], [10, 9]])
def test_split_point_where_it_does_not_pay_is_none(frames):
    assert split_point(frames, multiple=2) is None


def test_split_point_of_unsorted_batch_is_refused():
    with pytest.raises(ValueError, match=r"lengths \[20, 30\] .* not in descending order"):
        split_point([20, 30], multiple=2)
