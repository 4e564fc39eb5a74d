"""A run that never ends by itself; it tells the process ids of its workers."""

import multiprocessing
import sys
from typing import Any

from hogwild.launch import fit
from hogwild.options import HogwildOptions
from tests.unit.hogwild.counting import Plan, Task, make_counter, make_trainee


def tell(figures: dict[str, Any]) -> None:
    """Write the ids of the workers once."""
    if figures["epoch"] == 2:
        ids = [str(child.pid) for child in multiprocessing.active_children()]
        sys.stdout.write(" ".join(ids) + "\n")
        sys.stdout.flush()


def main(method: str) -> None:
    """Count without end."""
    task = Task(10, pause_s=0.001)
    brain, epochs = make_counter(task, epochs=10**9)
    fit(
        brain,
        HogwildOptions(num_workers=2, start_method=method),  # type: ignore[arg-type]
        factory=make_trainee,
        arguments=lambda: (task,),
        batches=Plan(task.size),
        epochs=epochs,
        on_epoch=tell,
    )


if __name__ == "__main__":
    main(sys.argv[1])
