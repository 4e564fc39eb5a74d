"""What each of two gloo processes does for test_ranks.py; results go into a file per rank."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from speechbrain.utils.metric_stats import ErrorRateStats
from speechbrain.utils.run_opts import RunOptions

from recipes.common.distributed import distributed_session, gather_scores, rank, world_size
from recipes.common.update import NonFiniteError
from tests.unit.recipes.common.toy import ToyBrain, ToyLoader, make_batches, make_brain, weights

SIZES = [2, 3, 1, 4, 2, 5, 1, 3, 6, 2, 2, 1]


def main(number: int, port: int, folder: Path) -> None:
    """Join the group, run every scenario, leave the group."""
    os.environ.update(RANK=str(number), LOCAL_RANK=str(number), WORLD_SIZE="2")
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    with distributed_session(RunOptions()) as run_opts:
        results = {
            "backend": run_opts.distributed_backend,
            "exact": exact(factor=1),
            "remainder": exact(factor=4),
            "norm": batch_norm(),
            "resume": resume(folder),
            "nonfinite": nonfinite(),
            "scores": scores(),
            "unequal": unequal(),
            "seconds": seconds(),
            "fallback": fallback(folder),
        }
    torch.save(results, folder / f"rank{number}.pt")


def dealt(sizes: list[int] = SIZES, *, dtype: torch.dtype = torch.float32) -> ToyLoader:
    """Return this rank's share of the batches."""
    batches = make_batches(sizes, dtype=dtype)
    return ToyLoader(batches, rank=rank(), world_size=world_size())


def brain_of(**options: Any) -> tuple[ToyBrain, Any]:
    """Return a Brain for this rank; the group decides the backend."""
    run_opts = {"distributed_backend": "gloo", **options.pop("run_opts", {})}
    return make_brain(run_opts=run_opts, **options)


def exact(*, factor: int) -> dict[str, Any]:
    """Train in float64 on shared batches."""
    run_opts = {"grad_accumulation_factor": factor, "max_grad_norm": 0.5}
    brain, counter = brain_of(run_opts=run_opts, dtype=torch.float64)
    brain.fit(counter, dealt(dtype=torch.float64), dealt(dtype=torch.float64))
    return {
        "weights": weights(brain),
        "losses": [r.loss for r in brain.reports],
        "stages": brain.stages,
    }


def batch_norm() -> dict[str, Any]:
    """Train a net with BatchNorm; validate on three batches on rank 0 and on one on rank 1."""
    brain, counter = brain_of(norm=True)
    valid = make_batches([2, 2, 2] if rank() == 0 else [3])
    brain.fit(counter, dealt([2, 3, 4, 2]), ToyLoader(valid))
    return {"weights": weights(brain), "stages": brain.stages}


def resume(folder: Path) -> dict[str, Any]:
    """Train with dropout, once straight, once killed in mid-epoch and resumed."""
    masks = {}
    for name, updates in (("straight", None), ("killed", 4), ("killed again", None)):
        place = folder / name.split()[0]
        brain, counter = brain_of(
            folder=place, dropout=0.5, run_opts={"ckpt_interval_steps": 3}, epochs=2
        )
        brain.kill_after = updates
        try:
            brain.fit(counter, dealt(), dealt())
        except KeyboardInterrupt:
            continue
        masks[name] = weights(brain)
    return {"weights": masks, "stream": torch.rand(4)}


def nonfinite() -> dict[str, Any]:
    """Train with a NaN on rank 1 only, then with NaNs until the patience ends."""
    batches = make_batches(SIZES)
    batches[3].x[0] = float("nan")
    brain, counter = brain_of(epochs=1)
    brain.fit(counter, ToyLoader(batches, rank=rank(), world_size=2))
    applied = [report.is_applied for report in brain.reports]
    for batch in batches[1::2]:
        batch.x[0] = float("nan")
    brain, counter = brain_of(epochs=1, run_opts={"nonfinite_patience": 1})
    try:
        brain.fit(counter, ToyLoader(batches, rank=rank(), world_size=2))
    except NonFiniteError as error:
        return {"applied": applied, "error": str(error), "weights": weights(brain)}
    return {"applied": applied, "error": ""}


def unequal() -> str:
    """Train on three batches on rank 0 and on four on rank 1."""
    brain, counter = brain_of(epochs=2)
    try:
        brain.fit(counter, ToyLoader(make_batches([2] * (3 + rank()))))
    except RuntimeError as error:
        return str(error)
    return ""


def seconds() -> dict[str, Any]:
    """Train with a clock of rank 1 that is late, and reaches the limit first."""
    brain, counter = brain_of(epochs=5, hparams={"max_seconds": 100.0})
    brain.on_update_end = lambda report: brain.clock._seconds.update(  # type: ignore[method-assign]
        train=101.0 if rank() == 1 and report.number == 3 else 0.0
    )
    brain.fit(counter, dealt())
    return {"updates": brain.optimizer_step, "utterances": brain.num_utterances}


def scores() -> dict[str, Any]:
    """Merge word error statistics of unequal shares."""
    stats = ErrorRateStats()
    ids = ["c", "a"] if rank() == 0 else ["b"]
    stats.append(ids, [["x", "y"]] * len(ids), [["x", "z"]] * len(ids))
    gather_scores(stats)
    return {"ids": stats.ids, "wer": stats.summarize("error_rate")}


def fallback(folder: Path) -> dict[str, Any]:
    """Damage the newest checkpoint and load: all ranks take the one before."""
    place = folder / "fallback"
    brain, counter = brain_of(folder=place, hparams={"num_to_keep": 2})
    brain.fit(counter, dealt(), dealt())
    newest = brain.checkpointer.find_checkpoint()
    torch.distributed.barrier()
    if rank() == 0:
        newest.paramfiles["net"].write_bytes(b"cut")
    torch.distributed.barrier()
    loaded = brain.checkpointer.recover_if_possible()
    return {"epoch": loaded.meta["epoch"], "names": sorted(p.name for p in place.iterdir())}
