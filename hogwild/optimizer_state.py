"""Where the optimizers' states lie: in shared memory, of each worker alone or of all together.

States are the stock optimizers' own tensors, so their steps are the stock ones. Those of a worker
lie in shared memory too: the parent saves them without asking, and a worker that is started again
finds its own.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from hogwild.flat import FlatLayout, Flats, Slot, arrays_to_flats, cloned, copy_into
from hogwild.memory import SharedArray

SECOND_MOMENTS = {"exp_avg_sq", "max_exp_avg_sq", "exp_inf", "square_avg", "step"}
ZERO_AT_FIRST = SECOND_MOMENTS | {"exp_avg", "momentum_buffer", "grad_avg", "acc_delta"}
"""States that optimizers begin with at zero, so that they can be shared from the first step on."""

Optimizers = Mapping[str, Optimizer]


@dataclass(frozen=True)
class Entry:
    """One tensor of an optimizer's state: whose, of which parameter, under which name.

    `slot` is its place among the states, `host_slot` that among those which stay on the CPU.
    """

    optimizer: str
    place: int
    key: str
    is_shared: bool
    slot: Slot
    host_slot: Slot | None = None


class OptimizerStates:
    """Shared memory for the states of all workers' optimizers.

    Arguments
    ---------
    optimizers : Optimizers
        Of a Brain; only their shapes are looked at.
    share_state : str
        "private", "second" or "all".
    num_workers : int
        Workers.
    device : str
        Where the states lie.

    Raises
    ------
    ValueError
        If a state cannot be shared.
    """

    def __init__(
        self, optimizers: Optimizers, *, share_state: str, num_workers: int, device: str = "cpu"
    ) -> None:
        found = [
            (name, place, key, state)
            for name, optimizer in optimizers.items()
            for place, states in enumerate(probe(optimizer, name))
            for key, state in states.items()
        ]
        shared = {key for _, _, key, _ in found if _is_shared(key, share_state)}
        if shared:
            _check_begins_at_zero({key for _, _, key, _ in found}, share_state)
        private, common = (
            FlatLayout((f"{o}.{p}.{k}", s) for o, p, k, s in found if (k in shared) == is_common)
            for is_common in (False, True)
        )
        hosted = FlatLayout((f"{o}.{p}.{k}", s) for o, p, k, s in found if is_hosted(s, device))
        slots = {slot.name: slot for layout in (private, common) for slot in layout.slots}
        host_slots = {slot.name: slot for slot in hosted.slots}
        self.entries = [
            Entry(o, p, key, key in shared, slots[name], host_slots.get(name))
            for o, p, key, _ in found
            for name in (f"{o}.{p}.{key}",)
        ]
        self.has_shared, self.share_state = bool(shared), share_state
        self.own = [private.allocate(device=device) for _ in range(num_workers)]
        self.common = common.allocate(device=device)
        # Those of all workers, and as the last ones those that all share.
        self.hosted = [hosted.allocate() for _ in range(num_workers + 1)]
        self.flags = SharedArray(num_workers * len(found), torch.uint8)

    def bind(self, optimizers: Optimizers, worker: int) -> None:
        """Give a worker's optimizers the states that are there; they go on with them."""
        flags = self._flags(worker)
        for number, entry in enumerate(self.entries):
            if self.has_shared or flags[number]:
                self._state_of(optimizers, entry)[entry.key] = self._view(entry, worker)
        if self.has_shared:
            flags.fill_(1)

    def adopt(self, optimizers: Optimizers, worker: int) -> None:
        """Move states that an optimizer has just made into the shared memory."""
        flags = self._flags(worker)
        if self.has_shared or bool(flags.all()):
            return
        for number in torch.nonzero(flags == 0).flatten().tolist():
            entry = self.entries[number]
            state = self._state_of(optimizers, entry)
            if isinstance(state.get(entry.key), Tensor):
                view = self._view(entry, worker)
                view.copy_(state[entry.key])
                state[entry.key] = view
                flags[number] = 1

    def publish(self, optimizers: Optimizers, worker: int) -> None:
        """Copy states that lie elsewhere, on a worker's own GPU, into the shared memory."""
        for number, entry in enumerate(self.entries):
            value = self._state_of(optimizers, entry).get(entry.key)
            if isinstance(value, Tensor):
                self._view(entry, worker).copy_(value)
                self._flags(worker)[number] = 1

    def fetch(self, optimizers: Optimizers, worker: int) -> None:
        """Give a worker's optimizers copies of its states on the device of its parameters."""
        flags = self._flags(worker)
        for number, entry in enumerate(self.entries):
            if flags[number]:
                device = device_of_state(optimizers[entry.optimizer], entry.place, entry.key)
                view = self._view(entry, worker)
                self._state_of(optimizers, entry)[entry.key] = view.to(device, copy=True)

    def fill(self, optimizers: Optimizers, saved: SavedStates, worker: int) -> None:
        """Give optimizers copies of a worker's saved states, as a plain trainer has them."""
        row = saved.flags[worker % len(saved.own)]
        for number, entry in enumerate(self.entries):
            if row[number]:
                flats = saved.common if entry.is_shared else saved.own[worker % len(saved.own)]
                self._state_of(optimizers, entry)[entry.key] = entry.slot.of(flats).clone()

    def take(self, optimizers: Optimizers) -> None:
        """Let all workers begin with the states of some optimizers, as a checkpoint gave them."""
        for worker in range(len(self.own)):
            self.publish(optimizers, worker)

    def saved(self) -> SavedStates:
        """Return a copy of all states."""
        saved = SavedStates(
            [cloned(arrays_to_flats(arrays)) for arrays in self.own],
            cloned(arrays_to_flats(self.common)),
            self.flags.tensor.view(len(self.own), -1).clone(),
            self.share_state,
        )
        for worker, flats in enumerate(saved.own):
            for entry in self._hosted_entries():
                place = entry.slot.of(saved.common if entry.is_shared else flats)
                place.copy_(self._view(entry, worker))
        return saved

    def load(self, saved: SavedStates) -> None:
        """Go on with saved states; worker r takes those of worker r modulo their number.

        Arguments
        ---------
        saved : SavedStates
            Of the same optimizers.

        Raises
        ------
        ValueError
            If other states were shared.
        """
        if saved.share_state != self.share_state:
            raise ValueError(
                f"share_state: is {self.share_state!r}, but the checkpoint was saved with "
                f"{saved.share_state!r}; expected the same; put the option back, or start the run "
                "in a new output folder."
            )
        copy_into(arrays_to_flats(self.common), saved.common)
        for worker, arrays in enumerate(self.own):
            row = worker % len(saved.own)
            copy_into(arrays_to_flats(arrays), saved.own[row])
            self._flags(worker).copy_(saved.flags[row])
            for entry in self._hosted_entries():
                flats = saved.common if entry.is_shared else saved.own[row]
                self._view(entry, worker).copy_(entry.slot.of(flats))

    def _flags(self, worker: int) -> Tensor:
        return self.flags.tensor.view(len(self.own), -1)[worker]

    def _hosted_entries(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.host_slot is not None]

    def _view(self, entry: Entry, worker: int) -> Tensor:
        if entry.host_slot is not None:
            return entry.host_slot.of(
                arrays_to_flats(self.hosted[-1 if entry.is_shared else worker])
            )
        return entry.slot.of(arrays_to_flats(self.common if entry.is_shared else self.own[worker]))

    @staticmethod
    def _state_of(optimizers: Optimizers, entry: Entry) -> dict[str, Any]:
        optimizer = optimizers[entry.optimizer]
        state: dict[str, Any] = optimizer.state[params_of(optimizer)[entry.place]]
        return state


@dataclass
class SavedStates:
    """A copy of the states: of each worker, of all together, which of them are in use.

    `share_state` is the option with which they were taken.
    """

    own: list[Flats]
    common: Flats
    flags: Tensor
    share_state: str


def params_of(optimizer: Optimizer) -> list[Tensor]:
    """Return the parameters of an optimizer in the order of its groups."""
    return [param for group in optimizer.param_groups for param in group["params"]]


def device_of_state(optimizer: Optimizer, place: int, key: str) -> torch.device:
    """Return where torch.optim has a state: counts stay on the CPU unless a kernel reads them."""
    is_on_gpu = key != "step"
    for group in optimizer.param_groups:
        if place < len(group["params"]):
            is_on_gpu = is_on_gpu or bool(group.get("fused") or group.get("capturable"))
            return group["params"][place].device if is_on_gpu else torch.device("cpu")
        place -= len(group["params"])
    raise IndexError(f"parameter {place} beyond the last of the optimizer")


def probe(optimizer: Optimizer, name: str) -> list[dict[str, Tensor]]:
    """Return the states that an optimizer makes at its first step, by a step of a copy.

    Arguments
    ---------
    optimizer : Optimizer
        Is not changed.
    name : str
        For errors.

    Returns
    -------
    list of dict
        State tensors of each parameter; only shapes and types mean something.

    Raises
    ------
    ValueError
        If a state is neither a tensor nor None.
    """
    trial = copy.deepcopy(optimizer)
    params = params_of(trial)
    for param in params:
        param.grad = torch.zeros_like(param)
    trial.step()
    for param in params:
        for key, value in trial.state[param].items():
            if value is not None and not isinstance(value, Tensor):
                raise ValueError(
                    f"{name}: its state {key!r} is a {type(value).__name__}; expected tensors "
                    "only, as those of torch.optim; take another optimizer."
                )
    return [
        {key: value for key, value in trial.state[param].items() if value is not None}
        for param in params
    ]


def is_hosted(state: Tensor, device: str) -> bool:
    """Whether a state stays on the CPU though the others lie on a device.

    Counts of steps do, unless a kernel reads them: from a GPU each would be fetched at every step.
    """
    return device != "cpu" and state.device.type == "cpu"


def _is_shared(key: str, share_state: str) -> bool:
    return share_state == "all" or (share_state == "second" and key in SECOND_MOMENTS)


def _check_begins_at_zero(keys: Sequence[str] | set[str], share_state: str) -> None:
    unknown = sorted(set(keys) - ZERO_AT_FIRST)
    if unknown:
        raise ValueError(
            f"share_state: is {share_state!r}, but the optimizer has states {unknown}; expected "
            f"those of {sorted(ZERO_AT_FIRST)}; set share_state to private, or take Adam or SGD."
        )
