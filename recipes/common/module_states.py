"""Reading the states of modules from checkpoints, with one clear error for another model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from speechbrain.utils.checkpoints import Checkpoint, hook_on_loading_state_dict_checkpoint
from torch import Tensor

SHOWN = 10


def read_state(path: Path) -> dict[str, Any]:
    """Return a state dict from a file, on the CPU; never runs code from it."""
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def read_module_state(path: Path) -> dict[str, Tensor]:
    """Return a module's state dict, with SpeechBrain's renamings of old keys applied."""
    state: dict[str, Tensor] = hook_on_loading_state_dict_checkpoint(read_state(path))
    return state


def load_modules(checkpoint: Checkpoint, modules: Mapping[str, torch.nn.Module]) -> None:
    """Load modules from one checkpoint: all of them, or none if one does not fit.

    Arguments
    ---------
    checkpoint : Checkpoint
        Where the states are.
    modules : Mapping[str, torch.nn.Module]
        Modules by name of recoverable.

    Raises
    ------
    ValueError
        If keys are missing or unexpected, or shapes differ; all are named.
    """
    states = {name: read_module_state(checkpoint.paramfiles[name]) for name in modules}
    faults = [f for name, module in modules.items() for f in mismatches(name, module, states[name])]
    if faults:
        raise ValueError(
            f"checkpoint {checkpoint.path}: is of another model:\n"
            + "\n".join(f"- {fault}" for fault in faults)
            + "\nexpected the model of this YAML; give another output_folder, or the YAML that "
            "made the checkpoint."
        )
    for name, module in modules.items():
        module.load_state_dict(states[name])


def mismatches(name: str, module: torch.nn.Module, state: Mapping[str, Any]) -> list[str]:
    """Return what keeps ``state`` from being the state of ``module``; empty if it fits."""
    own = module.state_dict()
    missing = [key for key in own if key not in state]
    unexpected = [key for key in state if key not in own]
    shapes = [
        f"{name}: {key} has shape {list(state[key].shape)}, expected {list(value.shape)}"
        for key, value in own.items()
        if key in state and _shape(state[key]) != _shape(value)
    ]
    faults = [f"{name}: {_listed(missing)} missing"] if missing else []
    faults += [f"{name}: {_listed(unexpected)} unexpected"] if unexpected else []
    hidden = len(shapes) - SHOWN
    return [*faults, *shapes[:SHOWN], *([f"{name}: {hidden} more shapes"] if hidden > 0 else [])]


def _shape(value: Any) -> tuple[int, ...] | None:
    return tuple(value.shape) if isinstance(value, Tensor) else None


def _listed(keys: list[str]) -> str:
    shown = ", ".join(keys[:SHOWN]) + (", ..." if len(keys) > SHOWN else "")
    return f"{len(keys)} keys ({shown})"
