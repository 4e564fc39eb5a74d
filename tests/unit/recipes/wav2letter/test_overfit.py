"""Tiny models of both kinds learn made-up utterances by heart, with the recipes' own rates."""

import torch
from rapidfuzz.distance import Levenshtein
from torch.nn.utils.rnn import pad_sequence

from recipes.LibriSpeech.wav2letter.asg import ASG
from recipes.LibriSpeech.wav2letter.attention import (
    AttentionDecoder,
    greedy_search,
    smoothed_loss,
    soft_window,
)
from recipes.LibriSpeech.wav2letter.convolutions import ConvGLU
from recipes.LibriSpeech.wav2letter.tds import TDSEncoder
from recipes.LibriSpeech.wav2letter.viterbi import viterbi

NUM_PROTOTYPES, BATCH = 6, 4


def utterances(num, *, features, per_token, seed=0):
    """Return features [T, F] and targets: each token is a vector of its own in noise."""
    generator = torch.Generator().manual_seed(seed)
    prototypes = torch.randn(NUM_PROTOTYPES, features, generator=generator)
    rows = []
    for _ in range(num):
        length = int(torch.randint(3, 8, (), generator=generator))
        steps = torch.randint(1, NUM_PROTOTYPES, (length,), generator=generator)
        target = steps.cumsum(0) % NUM_PROTOTYPES
        feats = prototypes[target.repeat_interleave(per_token)]
        feats = feats + 0.5 * torch.randn(feats.shape, generator=generator)
        rows.append((feats, target))
    return rows


def batches(rows, *, padding):
    for start in range(0, len(rows), BATCH):
        feats, targets = zip(*rows[start : start + BATCH], strict=True)
        counts = [torch.tensor([len(row) for row in part]) for part in (feats, targets)]
        padded = pad_sequence(list(targets), batch_first=True, padding_value=padding)
        yield pad_sequence(list(feats), batch_first=True), counts[0], padded, counts[1]


def error_rate(found, rows):
    errors = sum(
        Levenshtein.distance(row, target.tolist())
        for row, (_, target) in zip(found, rows, strict=True)
    )
    return errors / sum(len(target) for _, target in rows)


def collapsed(path):
    return [token for i, token in enumerate(path) if i == 0 or token != path[i - 1]]


def clipped_step(optimizer, loss, *, max_norm):
    optimizer.zero_grad()
    loss.backward()
    params = [param for group in optimizer.param_groups for param in group["params"]]
    torch.nn.utils.clip_grad_norm_(params, max_norm)
    optimizer.step()


def test_letters_are_learnt_with_linear_targets_first():
    torch.manual_seed(0)
    rows = utterances(24, features=40, per_token=8)
    sizes = {"channels": [60, 60], "kernels": [7, 5], "hidden": 60}
    network = ConvGLU(
        num_features=40, num_tokens=NUM_PROTOTYPES, dropout=0.0, dropout_growth=1.0, **sizes
    )
    criterion = ASG(NUM_PROTOTYPES)
    groups = [
        {"params": list(network.parameters()), "lr": 0.6, "momentum": 0.8},
        {"params": list(criterion.parameters()), "lr": 0.006},
    ]
    optimizer = torch.optim.SGD(groups)
    for epoch in range(20):
        for feats, frames, targets, counts in batches(rows, padding=0):
            losses = criterion(network(feats), frames, targets, counts, is_linear=epoch == 0)
            clipped_step(optimizer, losses.mean(), max_norm=0.2)
    found = []
    for feats, frames, _, _ in batches(rows, padding=0):
        paths = viterbi(network(feats), frames, criterion.transitions)
        found += [collapsed(path) for path in paths]
    assert error_rate(found, rows) <= 0.10


def train_tds(*, epochs, window_epochs):
    """Return the last epoch's mean loss and the error rate of a greedy search."""
    torch.manual_seed(0)
    end = NUM_PROTOTYPES
    rows = utterances(48, features=16, per_token=16)
    encoder = TDSEncoder(
        width=16, channels=[4, 6, 8], num_blocks=[1, 1, 1], out_size=64, dropout=0.0
    )
    decoder = AttentionDecoder(num_tokens=NUM_PROTOTYPES + 1, size=32)
    params = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.SGD(params, lr=0.05)
    for epoch in range(epochs):
        total = 0.0
        for feats, frames, targets, counts in batches(rows, padding=end):
            targets = torch.nn.functional.pad(targets, (0, 1), value=end)
            encoded, lengths = encoder(feats, frames)
            shape = (targets.shape[1], encoded.shape[1])
            window = soft_window(lengths, counts + 1, deviation=4.0, shape=shape)
            logits = decoder(
                encoded, lengths, targets[:, :-1], window if epoch < window_epochs else None
            )
            losses = smoothed_loss(logits, targets, counts + 1, smoothing=0.05, on_padding=False)
            clipped_step(optimizer, losses.mean(), max_norm=15)
            total += losses.sum().item()
    found = []
    for feats, frames, _, _ in batches(rows, padding=end):
        found += greedy_search(decoder, *encoder(feats, frames), max_tokens=20)
    return total / len(rows), error_rate(found, rows)


def test_window_brings_the_attention_to_learn_sooner():
    with_window, _ = train_tds(epochs=10, window_epochs=3)
    without, _ = train_tds(epochs=10, window_epochs=0)
    assert with_window < without


def test_tokens_are_learnt_by_the_attention_model():
    _, error = train_tds(epochs=60, window_epochs=3)
    assert error <= 0.06
