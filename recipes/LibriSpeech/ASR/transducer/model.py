"""The LSTM transducer of MLPerf Training: encoder, predictor, joint.

A. Graves, "Sequence transduction with recurrent neural networks", 2012,
https://arxiv.org/abs/1211.3711; sizes and initialisation as in MLCommons' reference of the RNN-T
benchmark (Training v1.0 to v3.1).

Axes: B utterances, N spliced frames (30 ms), E encoder steps (60 ms), U tokens, F features,
H cells, J joint features, V classes (the blank last).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from recipes.LibriSpeech.ASR.transducer.inputs import JointInputs, JointLoss
from recipes.LibriSpeech.ASR.transducer.loss import make_loss
from recipes.LibriSpeech.ASR.transducer.lstm import LSTMInit, LSTMStack, State, ceil_div, stack_time
from recipes.LibriSpeech.ASR.transducer.splitting import run_split, split_point


class Encoder(nn.Module):
    """LSTMs, every `stack` outputs joined, LSTMs, and the encoder's half of the joint.

    Arguments
    ---------
    in_feats : int
        Features of a spliced frame (240; 256 with zeros behind, for tensor cores).
    hidden_size : int
        Cells of each layer.
    pre_layers : int
        Layers before the stacking.
    post_layers : int
        Layers after it.
    stack : int
        Steps joined into one.
    joint_size : int
        Features that the joint adds.
    dropout : float
        After each LSTM layer.
    init : LSTMInit | None
        First values of the LSTMs; None: the benchmark's.
    """

    def __init__(  # noqa: PLR0913 - the numbers of a YAML block, all by keyword
        self,
        *,
        in_feats: int = 240,
        hidden_size: int = 1024,
        pre_layers: int = 2,
        post_layers: int = 3,
        stack: int = 2,
        joint_size: int = 512,
        dropout: float = 0.1,
        init: LSTMInit | None = None,
    ) -> None:
        super().__init__()
        init = init or LSTMInit()
        self.in_feats, self.stack = in_feats, stack
        common: dict[str, Any] = {"dropout": dropout, "init": init}
        self.pre_rnn = LSTMStack(in_feats, hidden_size, num_layers=pre_layers, **common)
        self.post_rnn = LSTMStack(
            stack * hidden_size, hidden_size, num_layers=post_layers, **common
        )
        self.joint_enc = nn.Linear(hidden_size, joint_size)

    def forward(
        self, feats: Tensor, num_frames: Tensor, *, host_frames: Sequence[int] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Encode spliced frames.

        Arguments
        ---------
        feats : Tensor
            [N, B, F], zeros beyond the lengths.
        num_frames : Tensor
            [B] int64 spliced frames of each utterance.
        host_frames : Sequence[int] | None
            Upper bounds of `num_frames` that the host knows, in descending order: the longer half
            of the batch alone runs on beyond the shorter half's end. None: no such split.

        Returns
        -------
        tuple[Tensor, Tensor]
            [B, E, J] the encoder's part of the joint, and [B] int64 encoder steps.
        """
        split = split_point(host_frames, multiple=self.stack)
        x = run_split(self.pre_rnn, feats, split)  # [N, B, H]
        # Zeros beyond an utterance's end, else its last step would depend on the batch's longest.
        is_beyond = torch.arange(len(x), device=x.device)[:, None] >= num_frames  # [N, B]
        x = stack_time(x.masked_fill(is_beyond[..., None], 0.0), self.stack)  # [E, B, stack * H]
        x = run_split(self.post_rnn, x, None if split is None else split.divided(self.stack))
        return self.joint_enc(x.transpose(0, 1)), ceil_div(num_frames, self.stack)


class Predictor(nn.Module):
    """Embedding and LSTMs over the tokens so far, and the predictor's half of the joint.

    There is no embedding of the start: a zero vector stands before the first token. Nor one of
    the blank, which is no token.

    Arguments
    ---------
    num_tokens : int
        V - 1, tokens without the blank.
    embedding_size : int
        Features of a token.
    hidden_size : int
        Cells of each layer.
    num_layers : int
        LSTM layers.
    joint_size : int
        Features that the joint adds.
    dropout : float
        After each LSTM layer.
    init : LSTMInit | None
        First values of the LSTMs; None: the benchmark's.
    """

    def __init__(
        self,
        *,
        num_tokens: int,
        embedding_size: int = 512,
        hidden_size: int = 512,
        num_layers: int = 2,
        joint_size: int = 512,
        dropout: float = 0.3,
        init: LSTMInit | None = None,
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(num_tokens, embedding_size)
        self.dec_rnn = LSTMStack(
            embedding_size,
            hidden_size,
            num_layers=num_layers,
            dropout=dropout,
            init=init or LSTMInit(),
        )
        self.joint_pred = nn.Linear(hidden_size, joint_size)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return [B, U + 1, J] for tokens [B, U] (int64, padded with 0), the start before them."""
        embedded = self.embed(tokens).transpose(0, 1)  # [U, B, D]
        start = embedded.new_zeros(1, *embedded.shape[1:])
        out, _ = self.dec_rnn(torch.cat([start, embedded]))  # [U + 1, B, H]
        return self.joint_pred(out.transpose(0, 1))

    def start(self, batch_size: int) -> tuple[Tensor, State]:
        """Return the output [B, J] and the state before any token."""
        weight = self.embed.weight
        out, state = self.dec_rnn(weight.new_zeros(1, batch_size, weight.shape[1]))
        return self.joint_pred(out[0]), state

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the output [B, J] and the state after one more token [B]."""
        out, state = self.dec_rnn(self.embed(tokens)[None], state)
        return self.joint_pred(out[0]), state


class Joint(nn.Module):
    """ReLU of the sum, dropout, classes; and the loss, which may never hold all the logits.

    Arguments
    ---------
    num_classes : int
        V, the blank last.
    joint_size : int
        J.
    dropout : float
        After the ReLU.
    loss : str
        "packed", "triton", "torchaudio", "dense" or "pruned"; see
        :func:`recipes.LibriSpeech.ASR.transducer.loss.make_loss`.
    chunk_rows : int
        Rows of logits that are computed at a time, where the loss goes by rows.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        joint_size: int = 512,
        dropout: float = 0.3,
        loss: str = "packed",
        chunk_rows: int = 8192,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.joint_net = nn.Linear(joint_size, num_classes)
        self.loss: JointLoss = make_loss(
            loss, chunk_rows=chunk_rows, joint_size=joint_size, num_classes=num_classes
        )

    def forward(
        self,
        enc: Tensor,
        pred: Tensor,
        tokens: Tensor,
        *,
        num_steps: Tensor,
        num_tokens: Tensor,
        host_rows: int | None = None,
    ) -> Tensor:
        """Return the negative log-likelihood of each utterance, [B] float32.

        Arguments
        ---------
        enc : Tensor
            [B, E, J].
        pred : Tensor
            [B, U + 1, J].
        tokens : Tensor
            [B, U] int64.
        num_steps : Tensor
            [B] int64 encoder steps, at least 1.
        num_tokens : Tensor
            [B] int64.
        host_rows : int | None
            See :class:`recipes.LibriSpeech.ASR.transducer.inputs.JointInputs`.

        Returns
        -------
        Tensor
            Not divided by any length.
        """
        inputs = JointInputs(
            enc=enc,
            pred=pred,
            tokens=tokens,
            num_steps=num_steps,
            num_tokens=num_tokens,
            head=self.joint_net,
            dropout=self.dropout if self.training else 0.0,
            host_rows=host_rows,
        )
        return self.loss(inputs)

    def logits(self, enc: Tensor, pred: Tensor) -> Tensor:
        """Return logits [..., V] of sums of `enc` and `pred` [..., J], for decoding."""
        return self.joint_net(torch.relu(enc + pred))
