"""The model that all workers train: its parameters, buffers and optimizer states in shared memory.

Owners: parameters belong to all workers; buffers (BatchNorm statistics, counters) to worker 0, the
others keep copies of their own; optimizer states see `hogwild.optimizer_state`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hogwild.flat import FlatLayout, Flats, arrays_to_flats
from hogwild.optimizer_state import OptimizerStates
from hogwild.options import HogwildOptions


class SharedModel:
    """What the workers share, made by the parent from its own Brain.

    Arguments
    ---------
    modules : nn.Module
        All modules of the Brain; their values are the first values.
    optimizers : dict[str, Any]
        Of the Brain, by name.
    options : HogwildOptions
        What is shared.

    Raises
    ------
    ValueError
        If the optimizer's state cannot be shared so.
    """

    def __init__(
        self, modules: nn.Module, optimizers: dict[str, Any], options: HogwildOptions
    ) -> None:
        check_access(options, device=device_of(modules))
        device = "cpu" if options.access == "pull_push" else device_of(modules)
        self.params_layout = FlatLayout(modules.named_parameters())
        self.buffers_layout = FlatLayout(modules.named_buffers())
        self._params = self.params_layout.allocate(device=device)
        self._buffers = self.buffers_layout.allocate(device=device)
        self.states = OptimizerStates(
            optimizers,
            share_state=options.share_state,
            num_workers=options.num_workers,
            device=device,
        )
        self.states.take(optimizers)
        self.params_layout.fill(self.params, list(modules.parameters()))
        self.buffers_layout.fill(self.buffers, list(modules.buffers()))

    @property
    def params(self) -> Flats:
        """Flat buffers of the parameters."""
        return arrays_to_flats(self._params)

    @property
    def buffers(self) -> Flats:
        """Flat buffers of the modules' buffers."""
        return arrays_to_flats(self._buffers)

    def attach_params(self, modules: nn.Module) -> None:
        """Let a worker's parameters be the shared memory."""
        keep_weights_in_place(modules)
        self.params_layout.attach(self.params, list(modules.parameters()))

    def attach_buffers(self, modules: nn.Module, *, is_owner: bool) -> None:
        """Let the owner's buffers be the shared memory; others begin with a copy of it."""
        buffers = list(modules.buffers())
        views = self.buffers_layout.views(self.buffers)
        with torch.no_grad():
            for buffer, view in zip(buffers, views, strict=True):
                buffer.copy_(view)
        if is_owner and device_of(modules) == self._device:
            self.buffers_layout.attach(self.buffers, buffers)

    def push_buffers(self, modules: nn.Module) -> None:
        """Copy the owner's buffers that are not the shared memory itself (any more) into it."""
        with torch.no_grad():
            for buffer, view in zip(
                modules.buffers(), self.buffers_layout.views(self.buffers), strict=True
            ):
                if buffer.data_ptr() != view.data_ptr():
                    view.copy_(buffer)

    @property
    def _device(self) -> str:
        return next((a.device for a in [*self._params.values()]), "cpu")

    def check(self, modules: nn.Module, *, when: str) -> None:
        """Refuse a worker whose parameters have left the shared memory."""
        self.params_layout.check(self.params, list(modules.parameters()), when=when)


class LocalCopy:
    """A worker's own parameters: pulled from the shared ones, pushed back as differences.

    Arguments
    ---------
    shared : SharedModel
        What they are copied from.
    modules : nn.Module
        The worker's; their parameters become views of a flat buffer on their own device.
    lookahead : float
        So many times the difference that was just pushed is added to what is pulled: where the
        shared parameters are expected to be by the next push. 0: they are as they are.
    """

    def __init__(self, shared: SharedModel, modules: nn.Module, *, lookahead: float = 0.0) -> None:
        self._shared, self._lookahead = shared, lookahead
        device = device_of(modules)
        self._own = shared.params_layout.empty(device=device)
        # After a push the difference, after a pull what was pulled: no third buffer, as the speed
        # of memory is what an update costs.
        self._other = shared.params_layout.empty(device=device)
        self._has_pushed = False
        keep_weights_in_place(modules)
        shared.params_layout.attach(self._own, list(modules.parameters()))
        self.pull()

    @torch.no_grad()
    def pull(self) -> None:
        """Copy the shared parameters, and look ahead; not if no push came after the last pull."""
        for dtype, source in self._shared.params.items():
            own, other = self._own[dtype], self._other[dtype]
            if self._lookahead and self._has_pushed and dtype.is_floating_point:
                torch.add(source.to(own.device), other, alpha=self._lookahead, out=own)
            else:
                own.copy_(source)
            other.copy_(own)
        self._has_pushed = False

    @torch.no_grad()
    def push(self) -> None:
        """Add what a step has changed to the shared parameters, in place."""
        for dtype, target in self._shared.params.items():
            other = self._other[dtype]
            torch.sub(self._own[dtype], other, out=other)
            target.add_(other.to(target.device))
        self._has_pushed = True

    def check(self, modules: nn.Module, *, when: str) -> None:
        """Refuse parameters that are not the flat buffer any more."""
        self._shared.params_layout.check(self._own, list(modules.parameters()), when=when)


def check_access(options: HogwildOptions, *, device: str) -> None:
    """Refuse to share optimizer states that lie on a device of each worker's own.

    Arguments
    ---------
    options : HogwildOptions
        Access, and what is shared.
    device : str
        Of the workers' parameters.

    Raises
    ------
    ValueError
        If the workers would each overwrite what they are said to share.
    """
    if options.access == "pull_push" and device != "cpu" and options.share_state != "private":
        raise ValueError(
            f"share_state: is {options.share_state!r} with access pull_push on {device}, where "
            "every worker has the optimizer's state on a device of its own; expected private; or "
            "set access to direct, with all workers on one device."
        )


def device_of(modules: nn.Module) -> str:
    """Return the device of the parameters ("cpu" if there are none)."""
    param: Tensor | None = next(modules.parameters(), None)
    return "cpu" if param is None else str(param.device)


def keep_weights_in_place(modules: nn.Module) -> None:
    """Make `flatten_parameters` of recurrent layers do nothing: on a GPU it would move weights."""
    for module in modules.modules():
        if isinstance(module, nn.RNNBase):
            module.flatten_parameters = _stay  # type: ignore[method-assign]


def _stay() -> None:
    """Take the place of a recurrent layer's `flatten_parameters`."""
