"""Do the ways for GPUs work, and how fast are they? Not run in CI: it needs at least one GPU.

    python -m benchmarks.hogwild_gpu
    python -m benchmarks.hogwild_gpu --processes 4 --size 512

On one device by CUDA IPC (`access: direct`), and with the parameters in the host's memory
(`access: pull_push`; worker r on GPU r modulo their number), against one process. Checked besides
speed: the loss falls, and recurrent weights stay in the shared memory.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from benchmarks import hogwild_methods as methods
from benchmarks.hogwild_task import Loader, Task, make_trainee
from hogwild.protocols import Trainee


def make_on_own_gpu(worker: int, task: Task) -> Trainee:
    """Make what a worker trains with on a GPU of its own."""
    device = f"cuda:{worker % torch.cuda.device_count()}"
    return make_trainee(worker, replace(task, device=device))


def main(argv: Sequence[str]) -> int:
    """Train in each way and print batches per second."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batches", type=int, default=400)
    parser.add_argument("--device", default="cuda:0", help="cpu: only to try the script")
    args = parser.parse_args(argv)
    if args.device != "cpu" and not torch.cuda.is_available():
        parser.error("no GPU is visible")
    task = Task("ctc", size=args.size, batches=args.batches, device=args.device)
    own = make_trainee if args.device == "cpu" else make_on_own_gpu
    ways: dict[str, Any] = {
        "direct, one device": {"num_workers": args.processes},
        "direct, all moments shared": {"num_workers": args.processes, "share_state": "all"},
        "pull and push": {"num_workers": args.processes, "access": "pull_push", "factory": own},
    }
    brain = task.brain()
    seconds = methods.trained_s(brain, Loader(task))
    print(f"1 process: {args.batches / seconds:.1f} batches/s, loss {brain.train_loss:.3f}")
    for name, options in ways.items():
        found = methods.hogwild(task, **options)
        print(
            f"{name}: {args.batches / found['seconds']:.1f} batches/s, loss {found['loss']:.3f}, "
            f"staleness {found['staleness_mean']:.2f}, by worker {found['updates_by_worker']}",
            flush=True,
        )
        assert found["loss"] < 1.2 * brain.train_loss + 1.0, "it does not learn"
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
