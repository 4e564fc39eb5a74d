"""LSTM layers with the benchmark's first values and dropout, time first.

Axes: L steps, B utterances, F features, H cells.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

State = tuple[Tensor, Tensor]


class LSTMInit(NamedTuple):
    """How an LSTM is initialised, after PyTorch's own uniform values.

    Arguments
    ---------
    forget_gate_bias : float
        Value of the forget gates' input bias.
    hidden_bias_scale : float
        Factor of the forget gates' recurrent bias.
    weights_scale : float
        Factor of all weights and biases, applied last.
    """

    forget_gate_bias: float = 1.0
    hidden_bias_scale: float = 0.0
    weights_scale: float = 0.5


@torch.no_grad()
def init_lstm(lstm: nn.LSTM, init: LSTMInit) -> None:
    """Initialise an LSTM as the benchmark does; see :class:`LSTMInit`."""
    cells = lstm.hidden_size
    for name, param in lstm.named_parameters():
        if name.startswith("bias_ih"):
            param[cells : 2 * cells] = init.forget_gate_bias
        elif name.startswith("bias_hh"):
            param[cells : 2 * cells] *= init.hidden_bias_scale
        param.mul_(init.weights_scale)


class LSTMStack(nn.Module):
    """LSTM layers, time first, with dropout between them and after the last.

    Arguments
    ---------
    input_size : int
        Features of the input.
    hidden_size : int
        Cells of each layer.
    num_layers : int
        Layers.
    dropout : float
        Probability of a zero.
    init : LSTMInit
        First values.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        num_layers: int,
        dropout: float,
        init: LSTMInit,
    ) -> None:
        super().__init__()
        between = dropout if num_layers > 1 else 0.0
        self.lstm = nn.LSTM(input_size, hidden_size, num_layers, dropout=between)
        self.dropout = nn.Dropout(dropout)
        init_lstm(self.lstm, init)

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Return outputs [L, B, H] of inputs [L, B, F], and the last state."""
        out, state = self.lstm(x, state)
        return self.dropout(out), state


def stack_time(x: Tensor, factor: int) -> Tensor:
    """Join neighbouring steps: [L, B, F] to [ceil(L / factor), B, factor * F], zeros at the end."""
    length, batch, size = x.shape
    missing = -length % factor
    if missing:
        x = torch.cat([x, x.new_zeros(missing, batch, size)])
    x = x.reshape(-1, factor, batch, size)  # [L', factor, B, F]
    return x.transpose(1, 2).reshape(x.shape[0], batch, factor * size)


def ceil_div(lengths: Tensor, factor: int) -> Tensor:
    """Return ``ceil(lengths / factor)`` of whole numbers."""
    return torch.div(lengths + factor - 1, factor, rounding_mode="floor")
