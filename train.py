"""Train and test a recipe: on one device, or on several under torchrun (DDP).

    python train.py hparams/train.yaml
    python train.py hparams/train.yaml --data_folder /corpora/BizSpeech
    torchrun --nproc_per_node=2 train.py hparams/train_ddp.yaml
    python train.py hparams/train.yaml --test_only --librispeech_folder /corpora/LibriSpeech

The YAML names everything: corpus, tokenizer, loaders, model, Brain. Every key may be set on the
command line (``--seed 3``, ``--model.rnn_layers 2``); ``--help`` lists them, ``--dry_run`` shows
what would run. What is missing is made: corpus (if it is synthetic), shards, tokenizer. A run
that was stopped goes on from its last checkpoint when the same command is given again.

In ``output_folder``: ``run.json`` (command, commit, machine, results), ``train_log.txt``,
``tensorboard/``, ``checkpoints/``, ``alignments/<test set>.txt``, ``hyperparams.yaml``.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from speechbrain.utils.distributed import if_main_process

from data_prepare.stored_corpus import Corpus
from recipes.common.brain import StampedeBrain
from recipes.common.distributed import distributed_session, own_cores
from recipes.common.experiment import save_experiment
from recipes.common.faults import plain_faults
from recipes.common.hparams import load_run
from recipes.common.job import (
    build_brain,
    evaluate,
    open_data,
    prepare_corpus,
    prepare_targets,
    prepare_tests,
    record_run,
)
from recipes.common.report import Stopwatch
from recipes.common.run_log import RunLog
from recipes.common.stop_file import StopFile


def fit(
    hparams: Mapping[str, Any], brain: StampedeBrain, *, prepared: Corpus, transforms: Any
) -> dict[str, Any]:
    """Train, or go on from the last checkpoint; return figures of the data."""
    data, valid = open_data(hparams, prepared, transforms=transforms)
    figures = data.report()
    brain.fit(hparams["epoch_counter"], data, valid)
    return {"train_data": figures}


def main(argv: Sequence[str]) -> int:
    """Prepare, train and test; return the exit code."""
    StopFile.from_environment().end_if_asked()
    watch = Stopwatch()
    with plain_faults():
        run = load_run(argv)
    hparams, output_folder = run.hparams, Path(run.hparams["output_folder"])
    torch.set_num_threads(hparams["num_threads"] or own_cores())
    with (
        plain_faults(output_folder),
        distributed_session(run.run_opts) as run_opts,
        RunLog(output_folder, log_every=hparams["log_every"]) as run_log,
    ):
        save_experiment(output_folder, run)
        brain = build_brain(run, run_opts, run_log=run_log)
        prepared = prepare_corpus(hparams["corpus"])
        brain.tokenizer, transforms = prepare_targets(hparams, prepared)
        tests = prepare_tests(hparams, prepared)
        watch.lap("prepare")
        more = {}
        if not hparams["test_only"]:
            more = fit(hparams, brain, prepared=prepared, transforms=transforms)
        watch.lap("train")
        results = evaluate(hparams, brain, tests=tests, transforms=transforms)
        watch.lap("test")
        if if_main_process():
            folders = {**prepared.splits, **tests}
            print(record_run(run, brain, watch=watch, results=results, folders=folders, more=more))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
