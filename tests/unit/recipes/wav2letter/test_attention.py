"""The attention decoder: steps against the whole, window, sampling, loss."""

import math

import pytest
import torch

from recipes.LibriSpeech.wav2letter.attention import (
    AttentionDecoder,
    greedy_search,
    replace_at_random,
    smoothed_loss,
    soft_window,
)

LENGTHS = torch.tensor([7, 4])


@pytest.fixture
def decoder() -> AttentionDecoder:
    torch.manual_seed(0)
    return AttentionDecoder(num_tokens=6, size=8)


@pytest.fixture
def encoded() -> torch.Tensor:
    return torch.randn(2, 7, 16, generator=torch.Generator().manual_seed(1))


def test_steps_equal_the_whole(decoder, encoded):
    tokens = torch.tensor([[1, 3, 0], [2, 2, 4]])
    whole = decoder(encoded, LENGTHS, tokens).log_softmax(-1)  # [B, 4, V]
    state = decoder.initial_state(encoded, LENGTHS)
    last = torch.full((2,), decoder.start_index)
    for u in range(4):
        logp, state, attention = decoder.step(last, state)
        assert torch.allclose(logp, whole[:, u], atol=1e-5)
        assert torch.allclose(attention.sum(-1), torch.ones(2))
        assert not attention[1, 4:].any()
        last = tokens[:, u] if u < 3 else last


def test_logits_equal_the_formula(decoder, encoded):
    logits = decoder(encoded[:1], LENGTHS[:1], torch.tensor([[3]]))[0, 1]
    inputs = torch.stack([decoder.start, decoder.embedding.weight[3]])[None]
    hidden = decoder.gru(inputs)[0][0, 1]
    keys, values = encoded[0, :, :8], encoded[0, :, 8:]
    weights = (keys @ hidden / math.sqrt(8)).softmax(0)
    assert torch.allclose(logits, decoder.out(hidden + weights @ values), atol=1e-5)


def test_hypotheses_are_gathered_by_their_index(decoder, encoded):
    state = decoder.initial_state(encoded, LENGTHS)
    _, state, _ = decoder.step(torch.full((2,), decoder.start_index), state)
    chosen = state.select(torch.tensor([1, 0, 1]))
    logp, _, _ = decoder.step(torch.tensor([2, 2, 2]), chosen)
    both, _, _ = decoder.step(torch.tensor([2, 2]), state)
    assert torch.allclose(logp, both[[1, 0, 1]], atol=1e-6)


def test_beam_of_one_utterance_shares_its_encoding(decoder, encoded):
    state = decoder.initial_state(encoded[:1], LENGTHS[:1]).select(torch.zeros(3, dtype=torch.long))
    assert state.of_hypotheses(state.keys).stride(0) == 0
    logp, _, _ = decoder.step(torch.tensor([6, 1, 6]), state)
    assert logp.shape == (3, 6)
    assert torch.allclose(logp[0], logp[2])


def test_padding_changes_nothing(decoder, encoded):
    tokens = torch.tensor([[2, 2, 4]])
    alone = decoder(encoded[1:, :4], LENGTHS[1:], tokens)
    assert torch.allclose(decoder(encoded[1:], LENGTHS[1:], tokens), alone, atol=1e-6)


def test_window_is_a_parabola_around_the_diagonal():
    window = soft_window(LENGTHS, torch.tensor([5, 2]), deviation=4.0, shape=(5, 7))
    assert window.shape == (2, 5, 7)
    assert float(window[0, 3, 1]) == pytest.approx(-((1 - 3 * 7 / 5) ** 2) / 32)
    assert float(window[1, 1, 3]) == pytest.approx(-((3 - 1 * 4 / 2) ** 2) / 32)


def test_window_draws_the_attention(decoder, encoded):
    tokens = torch.tensor([[1, 3, 0], [2, 2, 4]])
    window = soft_window(LENGTHS, torch.tensor([4, 4]), deviation=0.01, shape=(4, 7))
    drawn = decoder(encoded, LENGTHS, tokens, window)
    values = encoded[0, :, 8:]
    hidden = decoder.gru(torch.cat([decoder.start[None], decoder.embedding(tokens[0])])[None])[0]
    expected = decoder.out(hidden[0, 0] + values[0])  # u = 0: the first frame
    assert torch.allclose(drawn[0, 0], expected, atol=1e-4)


def test_random_tokens_are_of_the_share_and_never_the_end():
    torch.manual_seed(0)
    tokens = torch.full((200, 100), 9)
    drawn = replace_at_random(tokens, share=0.1, num_tokens=10)
    assert float((drawn != 9).float().mean()) == pytest.approx(0.1, abs=0.01)
    assert set(drawn[drawn != 9].tolist()) == set(range(9))
    assert torch.equal(replace_at_random(tokens, share=0.0, num_tokens=10), tokens)


@pytest.mark.parametrize("on_padding", [False, True])
def test_smoothed_loss_equals_the_formula(on_padding):
    logits = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    targets, num_targets = torch.tensor([[1, 0, 4], [4, 4, 4]]), torch.tensor([3, 1])
    logp = logits.log_softmax(-1)
    expected = torch.zeros(2, dtype=torch.float64)
    for b in range(2):
        for u in range(3 if on_padding else int(num_targets[b])):
            smooth = 0.05 / 5 * logp[b, u].sum()
            expected[b] -= 0.95 * logp[b, u, targets[b, u]] + smooth
    found = smoothed_loss(logits, targets, num_targets, smoothing=0.05, on_padding=on_padding)
    assert torch.allclose(found.double(), expected.detach(), atol=1e-5)


def test_greedy_search_stops_at_the_end_token(decoder, encoded):
    with torch.no_grad():
        decoder.out.bias[3] += 50
    assert greedy_search(decoder, encoded, LENGTHS, max_tokens=4) == [[3] * 4, [3] * 4]
    with torch.no_grad():
        decoder.out.bias[decoder.end_index] += 100
    assert greedy_search(decoder, encoded, LENGTHS, max_tokens=4) == [[], []]


def test_decoder_is_float32_under_autocast(decoder, encoded):
    with torch.autocast("cpu", torch.bfloat16):
        logits = decoder(encoded.to(torch.bfloat16), LENGTHS, torch.tensor([[1], [2]]))
    assert logits.dtype == torch.float32
