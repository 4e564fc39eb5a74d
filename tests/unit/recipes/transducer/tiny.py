"""Small transducers, made-up batches, and the losses of one utterance by brute force."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import torch
from torch import Tensor

from recipes.LibriSpeech.ASR.transducer.inputs import JointInputs
from recipes.LibriSpeech.ASR.transducer.lstm import LSTMInit
from recipes.LibriSpeech.ASR.transducer.model import Encoder, Joint, Predictor


def tiny_model(
    *, loss: str = "packed", dropout: float = 0.0, num_classes: int = 9, in_feats: int = 12
) -> SimpleNamespace:
    """Return encoder, predictor and joint with some thousand parameters."""
    torch.manual_seed(0)
    init = LSTMInit(weights_scale=1.0)
    sizes = {"joint_size": 10, "dropout": dropout, "init": init}
    return SimpleNamespace(
        encoder=Encoder(
            in_feats=in_feats, hidden_size=11, pre_layers=1, post_layers=2, stack=2, **sizes
        ),
        predictor=Predictor(
            num_tokens=num_classes - 1, embedding_size=6, hidden_size=7, num_layers=1, **sizes
        ),
        joint=Joint(
            num_classes=num_classes, joint_size=10, dropout=dropout, loss=loss, chunk_rows=16
        ),
    )


def joint_inputs(
    lengths: list[tuple[int, int]], *, dtype: torch.dtype = torch.float32, size: int = 6, v: int = 7
) -> JointInputs:
    """Return what a loss is given for pairs (steps, tokens)."""
    generator = torch.Generator().manual_seed(3)
    steps, tokens = (max(pair[i] for pair in lengths) for i in (0, 1))
    batch = len(lengths)
    head = torch.nn.Linear(size, v).to(dtype)
    torch.nn.init.normal_(head.weight, generator=generator)
    return JointInputs(
        enc=torch.randn(batch, steps, size, generator=generator, dtype=dtype),
        pred=torch.randn(batch, tokens + 1, size, generator=generator, dtype=dtype),
        tokens=torch.randint(0, v - 1, (batch, tokens), generator=generator),
        num_steps=torch.tensor([pair[0] for pair in lengths]),
        num_tokens=torch.tensor([pair[1] for pair in lengths]),
        head=head,
    )


def brute_force(logp: Tensor, tokens: list[int]) -> Tensor:
    """Return -log of the sum over all paths through logp [E, P, V], blank last."""
    steps = logp.shape[0]
    total = []
    # A path says before which blank each token comes: steps, in ascending order.
    for at in itertools.combinations_with_replacement(range(steps), len(tokens)):
        score, place = torch.zeros((), dtype=logp.dtype), 0
        for step in range(steps):
            while place < len(tokens) and at[place] == step:
                score = score + logp[step, place, tokens[place]]
                place += 1
            score = score + logp[step, place, -1]
        total.append(score)
    return -torch.stack(total).logsumexp(0)
