"""Train and test a recipe by several processes that update one set of parameters without locks.

    python train_hogwild.py hparams/train_hogwild.yaml
    torchrun --nproc_per_node=1 --nnodes=2 train_hogwild.py hparams/train_hogwild.yaml

This process hands out batches, validates and saves; workers train. See docs/hogwild.md.
"""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from speechbrain.utils.distributed import if_main_process

from data_prepare.stored_corpus import Corpus
from hogwild.launch import fit
from hogwild.protocols import Trainee
from recipes.common import asynchronous, job
from recipes.common.agreement import plan_id
from recipes.common.brain import StampedeBrain
from recipes.common.distributed import distributed_session
from recipes.common.experiment import save_experiment
from recipes.common.faults import plain_faults
from recipes.common.hparams import Run, load_run
from recipes.common.report import Stopwatch
from recipes.common.rng import rng_state, seed_streams, set_rng_state
from recipes.common.run_log import RunLog
from recipes.common.stop_file import StopFile
from recipes.common.worker_faults import WorkerFaults, left_out, unchecked


def make_trainee(
    worker: int, run: Run, prepared: Corpus, statistics: asynchronous.Statistics
) -> Trainee:
    """Build a worker's Brain and data as the parent's, also days later; called in the worker."""
    run = run.with_objects()
    hparams = run.hparams
    hparams["checkpointer"] = None
    run_opts = asynchronous.worker_options(run.run_opts, worker, hparams["hogwild"].access)
    brain = job.build_brain(run, run_opts, run_log=asynchronous.NoLog(hparams["output_folder"]))
    asynchronous.take_statistics(brain, statistics)
    brain.process = worker
    brain.tokenizer, transforms = job.prepare_targets(hparams, prepared)
    folder = prepared.split(hparams["corpus"]["train_split"])
    data = hparams["train_loader"](folder, transforms=transforms, num_workers=0)
    seed = partial(seed_streams, hparams["seed"])
    extent = asynchronous.extent_of(data)
    return Trainee(brain, unchecked(data), seed, rng_state, set_rng_state, extent, left_out)


def train(run: Run, brain: StampedeBrain, *, prepared: Corpus, transforms: Any) -> dict[str, Any]:
    """Train, or go on from the last checkpoint; return figures of data and workers."""
    hparams = run.hparams
    # Read by number: each worker has a thread that reads ahead.
    data, valid = job.open_data(hparams, prepared, transforms=transforms, num_workers=0)
    faults = WorkerFaults(data)
    figures = asynchronous.WorkerFigures(brain, faults.end_epoch)

    def arguments() -> tuple[Any, ...]:
        num_batches = hparams["statistics_batches"]
        statistics = asynchronous.fix_statistics(brain, data, num_batches=num_batches)
        return run.without_objects(), prepared, statistics

    found = fit(
        brain,
        hparams["hogwild"],
        factory=make_trainee,
        arguments=arguments,
        batches=data,
        epochs=hparams["epoch_counter"],
        valid_set=valid,
        batches_per_epoch=hparams["batches_per_epoch"],
        plan_id=plan_id(data),
        on_epoch=figures,
        on_progress=asynchronous.WorkerProgress(brain),
        validate_average=partial(asynchronous.validate_average, brain),
        on_note=faults,
    )
    workers = {**asdict(hparams["hogwild"]), **found, **figures.latest}
    return {"train_data": data.report(), "hogwild": workers}


def main(argv: Sequence[str]) -> int:
    """Prepare, train and test; return the exit code."""
    StopFile.from_environment().end_if_asked()
    watch = Stopwatch()
    with plain_faults():
        run = load_run(argv)
    hparams, output_folder = run.hparams, Path(run.hparams["output_folder"])
    torch.set_num_threads(hparams["hogwild"].threads_per_worker)
    with (
        plain_faults(output_folder),
        distributed_session(run.run_opts) as run_opts,
        RunLog(output_folder, log_every=1) as run_log,  # workers choose: hogwild.report_every
    ):
        save_experiment(output_folder, run)
        brain = job.build_brain(run, run_opts, run_log=run_log)
        prepared = job.prepare_corpus(hparams["corpus"])
        brain.tokenizer, transforms = job.prepare_targets(hparams, prepared)
        tests = job.prepare_tests(hparams, prepared)
        watch.lap("prepare")
        more = {}
        if not hparams["test_only"]:
            more = train(run, brain, prepared=prepared, transforms=transforms)
        watch.lap("train")
        results = job.evaluate(hparams, brain, tests=tests, transforms=transforms)
        watch.lap("test")
        folders = {**prepared.splits, **tests}
        table = job.record_run(run, brain, watch=watch, results=results, folders=folders, more=more)
        if if_main_process():
            print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
