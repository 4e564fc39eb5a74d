"""Tiny transducers learn: the two trainings by which the benchmark's parts are judged together."""

import time

import pytest
import torch
from rapidfuzz.distance import Levenshtein
from torch import nn

from recipes.LibriSpeech.ASR.transducer.decoding import GreedySearcher
from recipes.LibriSpeech.ASR.transducer.ema import ModelAverage
from recipes.LibriSpeech.ASR.transducer.lamb import LAMB
from recipes.LibriSpeech.ASR.transducer.lstm import LSTMInit
from recipes.LibriSpeech.ASR.transducer.model import Encoder, Joint, Predictor

NUM_TOKENS, FEATS = 16, 16


class Task:
    """Each token is some frames of a pattern of its own, with noise."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        patterns = torch.Generator().manual_seed(99)
        self.patterns = torch.randn(NUM_TOKENS, FEATS, generator=patterns)

    def batch(self, size: int):
        rows, texts = [], []
        for _ in range(size):
            length = int(torch.randint(3, 7, (), generator=self.generator))
            text = torch.randint(1, NUM_TOKENS, (length,), generator=self.generator)
            repeats = torch.randint(4, 9, (length,), generator=self.generator)
            frames = self.patterns[text].repeat_interleave(repeats, 0)
            noise = torch.randn(frames.shape, generator=self.generator)
            rows.append(frames + 0.3 * noise)
            texts.append(text)
        order = sorted(range(size), key=lambda i: -len(rows[i]))
        rows, texts = [rows[i] for i in order], [texts[i] for i in order]
        return {
            "feats": nn.utils.rnn.pad_sequence(rows),  # [N, B, F]
            "frames": [len(row) for row in rows],
            "tokens": nn.utils.rnn.pad_sequence(texts, batch_first=True),
            "num_tokens": torch.tensor([len(text) for text in texts]),
        }


def make_model(*, pre_layers, post_layers, pred_layers, scale):
    init = LSTMInit(weights_scale=scale)
    return nn.ModuleDict(
        {
            "encoder": Encoder(
                in_feats=FEATS, hidden_size=96, pre_layers=pre_layers, post_layers=post_layers,
                joint_size=64, dropout=0.0, init=init,
            ),
            "predictor": Predictor(
                num_tokens=NUM_TOKENS, embedding_size=48, hidden_size=48, num_layers=pred_layers,
                joint_size=64, dropout=0.0, init=init,
            ),
            "joint": Joint(
                num_classes=NUM_TOKENS + 1, joint_size=64, dropout=0.0, chunk_rows=2048
            ),
        }
    )  # fmt: skip


def on_device(batch, device):
    return {
        key: part.to(device) if isinstance(part, torch.Tensor) else part
        for key, part in batch.items()
    }


def encode(model, batch):
    frames = torch.tensor(batch["frames"], device=batch["feats"].device)
    return model["encoder"](batch["feats"], frames, host_frames=batch["frames"])


def train(model, batches, *, lr, device="cpu", dtype=None):
    """Train one update a batch, by autocast if there is a dtype; return the parameters' average."""
    optimizer = LAMB(model.parameters(), lr=lr, max_norm=1.0)
    average = ModelAverage(model, decay=0.95)
    for drawn in batches:
        batch = on_device(drawn, device)
        with torch.autocast(device, dtype=dtype, enabled=dtype is not None):
            enc, steps = encode(model, batch)
            pred = model["predictor"](batch["tokens"])
            lengths = {"num_steps": steps, "num_tokens": batch["num_tokens"]}
            loss = model["joint"](enc, pred, batch["tokens"], **lengths).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average.update()
    return average


def token_error_rate(model, batch):
    model.eval()
    with torch.no_grad():
        found = GreedySearcher(model["predictor"], model["joint"])(*encode(model, batch))
    model.train()
    texts = zip(batch["tokens"].tolist(), batch["num_tokens"].tolist(), strict=True)
    pairs = [(row[:num], hyp) for (row, num), hyp in zip(texts, found, strict=True)]
    errors = sum(Levenshtein.distance(text, hyp) for text, hyp in pairs)
    return 100 * errors / sum(len(text) for text, _ in pairs)


def test_transducer_learns_a_synthetic_language():
    begun = time.process_time()
    torch.manual_seed(0)
    model = make_model(pre_layers=1, post_layers=1, pred_layers=1, scale=1.0)
    task = Task(0)
    average = train(model, (task.batch(32) for _ in range(300)), lr=0.02)
    with average.in_place():
        assert token_error_rate(model, Task(1).batch(128)) <= 10.0
    assert time.process_time() - begun <= 90.0  # of CPU time, whatever else runs


@pytest.mark.slow
def test_deep_transducer_learns_eight_utterances_by_heart():
    torch.manual_seed(0)
    model = make_model(pre_layers=2, post_layers=3, pred_layers=2, scale=0.5)
    batch = Task(0).batch(8)
    average = train(model, (batch for _ in range(600)), lr=0.01)
    with average.in_place():
        assert token_error_rate(model, batch) == 0.0
