"""DistributedDataParallel wrapping that also works on CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakSet

from speechbrain.utils.distributed import is_distributed_initialized
from torch.nn import SyncBatchNorm
from torch.nn.parallel import DistributedDataParallel

if TYPE_CHECKING:
    from recipes.common.brain import StampedeBrain

_wrappers: WeakSet[DistributedDataParallel] = WeakSet()


def wrap_distributed(brain: StampedeBrain) -> None:
    """Wrap every trainable module of the Brain, one wrapper per entry of ``modules``.

    SyncBatchNorm refuses modules on CPU, so there BatchNorm stays as it is: each rank normalises
    by its own batch, and rank 0's running statistics are used in evaluation and saved.

    Arguments
    ---------
    brain : StampedeBrain
        Its ``modules`` are replaced by their wrappers.

    Raises
    ------
    ValueError
        If DataParallel was asked for.
    """
    if brain.data_parallel_backend:
        raise ValueError("data_parallel_backend: is not supported; start the run with torchrun.")
    if not is_distributed_initialized():
        return
    for name, module in brain.modules.items():
        if not any(parameter.requires_grad for parameter in module.parameters()):
            continue
        if brain.device_type != "cpu":
            module = SyncBatchNorm.convert_sync_batchnorm(module)
            brain.raw_modules[name] = module
        has_own_device = brain.device_type != "cpu" and brain.distributed_backend != "gloo"
        wrapper = DistributedDataParallel(
            module,
            device_ids=[brain.device] if has_own_device else None,
            find_unused_parameters=brain.find_unused_parameters,
        )
        _wrappers.add(wrapper)
        brain.modules[name] = wrapper


def release_wrappers() -> None:
    """Make the wrappers let go of their process group, which is about to be destroyed.

    A group that is still held lives on with its threads, and one that needs the interpreter while
    it ends aborts the process.
    """
    for wrapper in _wrappers:
        for name in ("reducer", "logger", "process_group"):
            setattr(wrapper, name, None)
    _wrappers.clear()
