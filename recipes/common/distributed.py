"""Process groups: start and end of a session, and the few exchanges that the Brain needs.

Every function works without a group too: one process is a group of one.

``torch.distributed.nn.functional`` is imported here, before any group is made, for its default
arguments: they hold the group that there is when it is imported. DistributedDataParallel imports
it too, by way of torch._dynamo; with a group in them, ``destroy_process_group`` would not end
gloo's threads, and the interpreter's end could abort the process.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
import torch.distributed.nn.functional
from speechbrain.utils.distributed import (
    ddp_init_group,
    is_distributed_initialized,
)
from speechbrain.utils.run_opts import RunOptions
from torch import Tensor

from recipes.common.wrapping import release_wrappers

T = TypeVar("T")


def world_size() -> int:
    """Return the number of ranks; 1 without a process group."""
    return dist.get_world_size() if is_distributed_initialized() else 1


def rank() -> int:
    """Return this process's rank; 0 without a process group."""
    return dist.get_rank() if is_distributed_initialized() else 0


def own_cores() -> int:
    """Return how many cores there are for each process that torchrun started on this machine."""
    return max(1, len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


@contextmanager
def distributed_session(run_opts: RunOptions) -> Iterator[RunOptions]:
    """Join the process group of ``torchrun`` and leave it at the end, whatever happens.

    A gloo process that exits without leaving its group aborts now and then (SIGABRT), hence the
    ``finally``. Without ``torchrun`` nothing is started. On a machine without GPU, or with
    ``--device cpu``, gloo is chosen.

    Arguments
    ---------
    run_opts : RunOptions
        SpeechBrain's run options, as ``load_run`` returns them.

    Yields
    ------
    RunOptions
        The same options, with device and backend filled in; give these to the Brain.

    Raises
    ------
    RuntimeError
        If several tasks were started by ``srun`` without ``torchrun``.
    """
    _refuse_bare_srun()
    is_launched = "RANK" in os.environ and "LOCAL_RANK" in os.environ
    if is_launched and _runs_on_cpu(run_opts):
        changed = {"distributed_backend": "gloo", "device": "cpu"}
        overridden = set(run_opts.overridden_args) | set(changed)
        run_opts = dataclasses.replace(run_opts, **changed, overridden_args=overridden)
    try:
        ddp_init_group(run_opts)
        yield run_opts
    finally:
        if is_distributed_initialized():
            release_wrappers()
            dist.destroy_process_group()


def set_timeout(seconds: float) -> None:
    """Bound every exchange between ranks from now on: a rank that is lost is noticed so soon.

    SpeechBrain's group waits for two hours, which preparing data on the main process may need.

    Arguments
    ---------
    seconds : float
        > 0; must cover the slowest step that only some ranks do, such as saving a checkpoint.
    """
    if is_distributed_initialized():
        dist.distributed_c10d._set_pg_timeout(datetime.timedelta(seconds=seconds))


def _runs_on_cpu(run_opts: RunOptions) -> bool:
    return run_opts.device == "cpu" or not torch.cuda.is_available()


def _refuse_bare_srun() -> None:
    # SpeechBrain would take every task for the main process: each would train alone and all
    # would write into one folder.
    tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))
    if tasks > 1 and "LOCAL_RANK" not in os.environ:
        raise RuntimeError(
            f"distributed: srun started {tasks} tasks without RANK and LOCAL_RANK; expected one "
            "task per node; run `srun --ntasks-per-node=1 torchrun --nproc_per_node=N train.py`."
        )


def all_reduce_sum(values: Tensor) -> Tensor:
    """Return the sum of ``values`` over ranks; the argument is not changed.

    Arguments
    ---------
    values : Tensor
        Any shape, the same on every rank; on any device (gloo is given a CPU copy).

    Returns
    -------
    Tensor
        Sum over ranks, on the device of the argument.
    """
    if not is_distributed_initialized():
        return values
    on = "cuda" if dist.get_backend() == "nccl" else "cpu"
    summed = values.detach().clone().to(on)
    dist.all_reduce(summed)
    return summed.to(values.device)


def gather_list(items: Iterable[T]) -> list[T]:
    """Return the items of all ranks, rank 0's first; every rank must call it.

    Arguments
    ---------
    items : Iterable[T]
        Objects that pickle.

    Returns
    -------
    list
        The same list on every rank.
    """
    own = list(items)
    if not is_distributed_initialized():
        return own
    parts: list[list[T]] = [[] for _ in range(world_size())]
    dist.all_gather_object(parts, own)
    return [item for part in parts for item in part]


def gather_scores(*stats: Any) -> None:
    """Merge SpeechBrain metric statistics over ranks, in place, sorted by id.

    Afterwards every rank holds the scores of all, so ``summarize`` and what depends on it agree.

    Arguments
    ---------
    *stats : Any
        Objects with the lists ``ids`` and ``scores`` (ErrorRateStats, MetricStats).

    Raises
    ------
    ValueError
        If an id was scored twice: a padding batch was counted, or two ranks read the same data.
    """
    for stat in stats:
        pairs = gather_list(zip(stat.ids, stat.scores, strict=True))
        pairs.sort(key=lambda pair: str(pair[0]))
        doubles = {a[0] for a, b in zip(pairs, pairs[1:], strict=False) if a[0] == b[0]}
        if doubles:
            raise ValueError(
                f"gather_scores: {len(doubles)} ids were scored twice, first {min(doubles)}; "
                "expected every utterance once; leave out batches with is_padding."
            )
        stat.ids[:] = [pair[0] for pair in pairs]
        stat.scores[:] = [pair[1] for pair in pairs]


def broadcast_buffers(modules: torch.nn.Module) -> None:
    """Give every rank the buffers of rank 0 (BatchNorm statistics differ after a training step)."""
    if not is_distributed_initialized():
        return
    for buffer in modules.buffers():
        dist.broadcast(buffer, src=0)
