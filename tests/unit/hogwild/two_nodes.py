"""One node of two that count together; started by torchrun. Writes what it ended with."""

import json
import os
import sys
from pathlib import Path

from speechbrain.utils.run_opts import RunOptions

from hogwild.launch import fit
from hogwild.options import HogwildOptions
from recipes.common.distributed import distributed_session
from tests.unit.hogwild.counting import LIMIT_S, Numbered, Plan, Task, make_counter, make_trainee


def main(folder: Path, epochs: int, fate: str) -> None:
    """Count on this node."""
    rank = int(os.environ["RANK"])
    task = Task(30, folder, fate if rank == 1 else "", pause_s=0.002)
    figures = []
    with distributed_session(RunOptions(device="cpu")):
        limit = {"distributed_timeout_s": LIMIT_S} if fate == "lags" else {}
        brain, counter = make_counter(task, folder=folder / "checkpoints", epochs=epochs, **limit)
        fit(
            brain,
            HogwildOptions(num_workers=2, average_every=5, staleness_power=0.0),
            factory=make_trainee,
            arguments=lambda: (task,),
            batches=Plan(task.size),
            epochs=counter,
            valid_set=[Numbered(0, ["valid"])],
            on_epoch=figures.append,
        )
    values = [param.item() for param in brain.modules.parameters()]
    found = {"values": values, "updates": brain.optimizer_step, "figures": figures}
    (folder / f"node-{rank}.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
