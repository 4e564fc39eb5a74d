"""A copy of all that the workers have made, and what of it goes into a checkpoint."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from speechbrain.utils.checkpoints import mark_as_loader, mark_as_saver, register_checkpoint_hooks
from torch import Tensor, nn

from hogwild.counters import Counters
from hogwild.ema import Ema
from hogwild.flat import Flats, cloned
from hogwild.leases import Leases
from hogwild.nodes import Nodes
from hogwild.optimizer_state import SavedStates
from hogwild.shared import SharedModel

FORMAT = "stampede-hogwild-1"


@dataclass
class Snapshot:
    """The run at one moment.

    Arguments
    ---------
    reason : Literal["epoch", "limit", "save"]
        An epoch is complete, the limit in updates is reached, or a checkpoint is due.
    epoch : int
        The epoch that is complete or under way.
    params, buffers : Flats, Flats
        Of the model.
    states : SavedStates
        Of the optimizers.
    counters : dict[str, Tensor]
        See :class:`hogwild.counters.Counters`.
    leases : dict[str, Any]
        Which batches were applied.
    rng : list[Any]
        Random states of the workers; None of one that was not there.
    num_applied : int
        Batches of the epoch that were applied.
    ema : Flats | None
        Average of the parameters.
    """

    reason: Literal["epoch", "limit", "save"]
    epoch: int
    params: Flats
    buffers: Flats
    states: SavedStates
    counters: dict[str, Tensor]
    leases: dict[str, Any]
    rng: list[Any]
    num_applied: int
    ema: Flats | None = None

    @property
    def epoch_is_open(self) -> bool:
        """Whether the epoch goes on."""
        return self.reason != "epoch"

    def check_finite(self, *, updates: int) -> None:
        """Refuse parameters that are not finite: their norm tells, at little cost.

        Arguments
        ---------
        updates : int
            For the error.

        Raises
        ------
        FloatingPointError
            If one is not.
        """
        for flat in self.params.values():
            if not bool(torch.linalg.vector_norm(flat.float()).isfinite()):
                raise FloatingPointError(
                    f"hogwild: after {updates} updates parameters are not finite; expected finite "
                    "ones; lower the learning rate or the number of workers, or clip gradients."
                )


@dataclass
class Memory:
    """All that is copied for a snapshot.

    Arguments
    ---------
    shared : SharedModel
        Parameters, buffers, optimizer states.
    counters : Counters
        Counts.
    leases : Leases
        Which batches were applied.
    ema : Ema | None
        Average of the parameters.
    """

    shared: SharedModel
    counters: Counters
    leases: Leases
    ema: Ema | None = None

    def copy(self, reason: Any, *, epoch: int, rng: list[Any]) -> Snapshot:
        """Copy everything, while the workers may go on."""
        return Snapshot(
            reason=reason,
            epoch=epoch,
            params=cloned(self.shared.params),
            buffers=cloned(self.shared.buffers),
            states=self.shared.states.saved(),
            counters=self.counters.state(),
            leases=self.leases.state(),
            rng=list(rng),
            num_applied=self.leases.num_applied(epoch),
            ema=None if self.ema is None else cloned(self.ema.flats),
        )

    def install(self, snapshot: Snapshot, modules: nn.Module) -> None:
        """Give modules of this process the parameters and buffers of a snapshot."""
        self.put(snapshot.params, modules)
        with torch.no_grad():
            views = self.shared.buffers_layout.views(snapshot.buffers)
            for buffer, view in zip(modules.buffers(), views, strict=True):
                buffer.copy_(view)

    def put(self, params: Flats, modules: nn.Module) -> None:
        """Give modules of this process some parameters."""
        with torch.no_grad():
            views = self.shared.params_layout.views(params)
            for param, view in zip(modules.parameters(), views, strict=True):
                param.copy_(view)


@partial(register_checkpoint_hooks, save_on_main_only=False)
class HogwildState:
    """What a checkpoint holds besides model, optimizer of worker 0 and the Brain's own.

    Arguments
    ---------
    plan_id : str
        Names the data and their order.
    nodes : Nodes | None
        Whose states are saved together; None: this one alone.

    Attributes
    ----------
    snapshot : Snapshot | None
        What is saved next.
    loaded : dict or None
        What was loaded.
    """

    def __init__(self, plan_id: str = "", nodes: Nodes | None = None) -> None:
        self.plan_id, self.nodes = plan_id, nodes or Nodes()
        self.snapshot: Snapshot | None = None
        self.loaded: dict[str, Any] | None = None

    @mark_as_saver
    def _save(self, path: Path) -> None:
        taken = self.snapshot
        if taken is None:
            raise RuntimeError("hogwild: nothing to save yet; expected a snapshot before a save.")
        state = {
            "own": [list(flats.values()) for flats in taken.states.own],
            "common": list(taken.states.common.values()),
            "flags": taken.states.flags,
            "share_state": taken.states.share_state,
            "counters": taken.counters,
            "leases": json.dumps(taken.leases),
            "rng": taken.rng,
            "ema": None if taken.ema is None else list(taken.ema.values()),
        }
        states = self.nodes.gather(state)
        if self.nodes.rank == 0:
            torch.save({"format": FORMAT, "plan_id": self.plan_id, "nodes": states}, path)

    @mark_as_loader
    def _load(self, path: Path, end_of_epoch: bool) -> None:
        del end_of_epoch
        self.loaded = torch.load(path, weights_only=True)

    def restore(self, memory: Memory) -> list[Any]:
        """Go on where the loaded state was taken; return the workers' random states.

        Arguments
        ---------
        memory : Memory
            Gets states, counts and leases; parameters came with the model.

        Returns
        -------
        list
            State of each worker's random streams that is known, else None.

        Raises
        ------
        ValueError
            If the state is of another form, or of other data.
        """
        num_workers = memory.counters.num_workers
        if self.loaded is None:
            return [None] * num_workers
        state = self.loaded
        if state["format"] != FORMAT:
            raise ValueError(f"hogwild: checkpoint is {state['format']!r}; expected {FORMAT!r}.")
        if state["plan_id"] != self.plan_id:
            raise ValueError(
                f"hogwild: the checkpoint is of the plan {state['plan_id']}, now it is "
                f"{self.plan_id}; expected the same data, batches, seed and batches_per_epoch; put "
                "the options back, or start the run in a new output folder."
            )
        if len(state["nodes"]) != self.nodes.size:
            raise ValueError(
                f"hogwild: the checkpoint is of {len(state['nodes'])} nodes, now there are "
                f"{self.nodes.size}; expected as many, as each has its part of the batches."
            )
        state = state["nodes"][self.nodes.rank]
        memory.shared.states.load(
            SavedStates(
                [_flats(flats) for flats in state["own"]],
                _flats(state["common"]),
                state["flags"],
                state.get("share_state", memory.shared.states.share_state),  # older: not noted
            )
        )
        memory.counters.load(state["counters"])
        memory.leases.load(json.loads(state["leases"]))
        if memory.ema is not None and state["ema"] is not None:
            memory.ema.flats = _flats(state["ema"])
        self.loaded = None
        return [*state["rng"], *[None] * num_workers][:num_workers]


def _flats(tensors: list[Tensor]) -> Flats:
    return {tensor.dtype: tensor for tensor in tensors}
