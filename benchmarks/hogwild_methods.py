"""The ways to train one task on several processes: seconds of an epoch after one to warm up."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as torch_mp

from benchmarks.hogwild_task import Loader, Task, epochs, make_trainee
from hogwild.launch import fit
from hogwild.options import HogwildOptions
from recipes.common.distributed import distributed_session

AVERAGE_EVERY = 8
Found = dict[str, Any]


def free_port() -> int:
    """Return a port that the system has chosen."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def in_processes(run: Callable[..., float], num: int, *arguments: Any) -> Found:
    """Run a function in several processes at once; it returns the seconds of its epoch."""
    context: Any = torch_mp.get_context("spawn")
    queue, barrier = context.SimpleQueue(), context.Barrier(num)
    port = free_port()
    members = [
        context.Process(target=_member, args=(run, number, num, port, barrier, queue, arguments))
        for number in range(num)
    ]
    for member in members:
        member.start()
    seconds = [queue.get() for _ in members]
    for member in members:
        member.join()
    rates = [1 / own_s for own_s in seconds]
    return {"seconds": max(seconds), "seconds_unbound": num / sum(rates)}


def _member(
    run: Any, number: int, num: int, port: int, barrier: Any, queue: Any, arguments: Any
) -> None:
    torch.set_num_threads(1)
    if run is in_group:
        names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
        values = (number, number, num, "127.0.0.1", port)
        os.environ.update({name: str(value) for name, value in zip(names, values, strict=True)})
    barrier.wait()
    queue.put(run(number, num, *arguments))


def alone(task: Task, *, threads: int = 1) -> Found:
    """Train in one process."""
    torch.set_num_threads(threads)
    seconds = trained_s(task.brain(), Loader(task))
    torch.set_num_threads(1)
    return {"seconds": seconds}


def trained_s(brain: Any, loader: Loader) -> float:
    """Train; return the seconds of the last epoch."""
    brain.fit(epochs(), loader)
    return float(brain.ended_s[-1] - brain.ended_s[-2])


def independent(number: int, num: int, task: Task) -> float:
    """Train a model of one's own on one's share of the data: the ceiling."""
    return trained_s(task.brain(number), Loader(task, process=number, num_processes=num))


def in_group(number: int, num: int, task: Task, average_every: int) -> float:
    """Train by DDP, or (average_every > 0) alone with averages of parameters every few updates."""
    from speechbrain.utils.run_opts import RunOptions

    with distributed_session(RunOptions()):
        brain = task.brain(number)
        if average_every:
            brain._wrap_distributed = lambda: None
            brain.apply_update = averaging(brain, average_every)  # type: ignore[method-assign]
        return trained_s(brain, Loader(task, process=number, num_processes=num))


def averaging(brain: Any, every: int) -> Callable[[list[Any]], None]:
    """Return an update that averages the parameters over the group every few times."""
    step = type(brain).apply_update

    @torch.no_grad()
    def apply_update(optimizers: list[Any]) -> None:
        step(brain, optimizers)
        if (brain.optimizer_step + 1) % every == 0:
            params = list(brain.modules.parameters())
            flat = torch.cat([param.flatten() for param in params])
            dist.all_reduce(flat)
            flat /= dist.get_world_size()
            for param, part in zip(params, flat.split([p.numel() for p in params]), strict=True):
                param.copy_(part.view_as(param))

    return apply_update


def stock_hogwild(task: Task, num: int) -> Found:
    """Train as PyTorch's example does: a shared model, an optimizer for each process."""
    net = task.network()
    net.share_memory()
    return in_processes(_stock_worker, num, task, net)


def _stock_worker(number: int, num: int, task: Task, net: Any) -> float:
    brain = task.brain(number)
    own = brain.modules.net
    for param, shared in zip(own.parameters(), net.parameters(), strict=True):
        param.data = shared.data
    return trained_s(brain, Loader(task, process=number, num_processes=num))


def hogwild(
    task: Task,
    *,
    kill_every_s: float | None = None,
    factory: Any = make_trainee,
    **options: Any,
) -> Found:
    """Train by hogwild.launch; also staleness, lost updates, deaths in the epoch that counts."""
    ended_s: list[float] = []
    deaths: list[int] = []
    figures: Found = {}

    def note(found: Found) -> None:
        ended_s.append(time.monotonic())
        deaths.append(found["restarts"])
        figures.update(found)

    with killing(kill_every_s):
        fit(
            brain := task.brain(),
            HogwildOptions(
                **{"num_threads": 1, "report_every": 10**6, "max_restarts": 10**6, **options}
            ),
            factory=factory,
            arguments=lambda: (task,),
            batches=task,
            epochs=epochs(),
            on_epoch=note,
        )
    own = {"seconds": ended_s[-1] - ended_s[-2], "deaths": deaths[-1] - deaths[-2]}
    return {**figures, **own, "loss": brain.train_loss}


@contextmanager
def killing(every_s: float | None) -> Iterator[None]:
    """Kill one of the worker processes by SIGKILL now and then while the block runs."""
    is_over = threading.Event()

    def kill() -> None:
        number = 0
        while every_s is not None and not is_over.wait(every_s):
            workers = [p for p in multiprocessing.active_children() if "hogwild" in p.name]
            if workers and workers[number % len(workers)].pid:
                os.kill(int(workers[number % len(workers)].pid or 0), signal.SIGKILL)
            number += 1

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
