"""Updates whose outcome is read one update later, so that the host never waits for the device.

The stock update must know whether loss and gradient are finite before it applies them, which costs
one wait per update: the device runs dry while the host queues the next. Here the sums stay on the
device, scale and clip the gradient there, and travel to the host while the next update runs. The
price: an update that is not finite has been applied when this is seen. It ends the run with an
error, as in the benchmark; its last checkpoint, saved before, is whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recipes.common.distributed import all_reduce_sum, world_size
from recipes.common.update import LOSS_UNIT, GradGroup, NonFiniteError, UpdateReport


@dataclass
class Pending:
    """An update whose sums are on their way to the host.

    Arguments
    ---------
    number : int
        Updates applied, this one included.
    rate : float
        Learning rate.
    sums : Tensor
        [5] on the host, see :func:`scale_on_device`.
    is_there : Any
        CUDA event of their arrival; None: at once.
    ids : list[str]
        This rank's utterances, for the message of an error.
    """

    number: int
    rate: float
    sums: Tensor
    is_there: Any
    ids: list[str]

    def take(self) -> tuple[UpdateReport, int, int]:
        """Return the report, and how many ranks are out of time or asked to stop.

        Returns
        -------
        tuple[UpdateReport, int, int]
            The three.

        Raises
        ------
        NonFiniteError
            If loss or gradient is not finite.
        """
        if self.is_there is not None:
            self.is_there.synchronize()
        total, count, num_late, num_asked, norm = self.sums.tolist()
        loss = total / max(count, 1.0)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise NonFiniteError(
                f"update {self.number}: loss {loss:g}, norm of the gradient {norm:g}, in batches "
                f"{self.ids[:20]}; expected finite numbers; lower the learning rate, or set "
                "reports_late: False, which skips such updates."
            )
        report = UpdateReport(self.number, True, loss, round(count), norm, self.rate)
        return report, round(num_late), round(num_asked)


def scale_on_device(
    group: GradGroup, grads: Sequence[Tensor], *, max_norm: float, flags: tuple[bool, bool]
) -> Tensor:
    """Turn gradients into those of the mean loss and clip them jointly, without reading anything.

    Arguments
    ---------
    group : GradGroup
        This rank's micro-batches.
    grads : Sequence[Tensor]
        Gradients, averaged over ranks by DDP.
    max_norm : float
        Bound of their joint norm.
    flags : tuple[bool, bool]
        Whether this rank is out of time, and whether it was asked to stop.

    Returns
    -------
    Tensor
        [5] float64: sums over ranks of loss, utterances and flags; norm of the mean's gradient.
    """
    total = torch.stack(group.totals).double().sum()
    known = torch.tensor([group.count, *flags], dtype=torch.float64)
    own = torch.cat([total.reshape(1), known.to(total.device, non_blocking=True)])
    sums = all_reduce_sum(own)
    factor = (LOSS_UNIT * world_size() / sums[1].clamp(min=1.0)).float()
    norm = torch.nn.utils.get_total_norm(list(grads)) * factor
    torch._foreach_mul_(list(grads), factor * (max_norm / (norm + 1e-6)).clamp(max=1.0))
    return torch.cat([sums, norm.double().reshape(1)])


def send(sums: Tensor) -> tuple[Tensor, Any]:
    """Start to copy sums to the host; return them there, and the event of their arrival."""
    if not sums.is_cuda:
        return sums, None
    host = torch.empty(sums.shape, dtype=sums.dtype, pin_memory=True)
    host.copy_(sums, non_blocking=True)
    event = torch.cuda.Event()
    event.record()
    return host, event
