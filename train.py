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

import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from speechbrain.utils.distributed import if_main_process, run_on_main

from data_prepare.prepared import find_prepared
from data_prepare.stored_corpus import Corpus, Split, open_corpus
from recipes.common.brain import StampedeBrain
from recipes.common.distributed import distributed_session
from recipes.common.experiment import save_experiment
from recipes.common.faults import plain_faults
from recipes.common.hparams import Run, load_run
from recipes.common.report import Stopwatch, results_table, run_record, write_run_json
from recipes.common.run_log import RunLog

logger = logging.getLogger("train")


def prepare_corpus(corpus: Mapping[str, Any]) -> Corpus:
    """Make what is missing of a corpus on the main process; every rank gets its folders.

    Where only the shards were brought along, as to a cluster, they are used as they are.
    """
    source = corpus.get("data_folder")
    shards = find_prepared(Path(corpus["shards_folder"]))
    if source is not None and not Path(source).exists() and shards is not None:
        logger.info("%s is absent: the finished shards in %s are used", source, shards.folder)
        return shards
    for step in ("make", "prepare"):
        if corpus[step] is not None:
            run_on_main(corpus[step])
    place = corpus.get("local_folder") or corpus["shards_folder"]
    return open_corpus(place, remote=corpus.get("remote"))


def prepare_targets(hparams: Mapping[str, Any], prepared: Corpus) -> tuple[Any, list[Any]]:
    """Return the tokenizer (None if the recipe has none) and the loaders' transforms."""
    tokenizer = None
    if hparams["tokenizer"] is not None:
        folder = prepared.split(hparams["corpus"]["train_split"])
        run_on_main(hparams["train_tokenizer"], kwargs={"folders": [folder]})
        tokenizer = hparams["tokenizer"]()
    return tokenizer, [make(tokenizer) for make in hparams["transforms"]]


def prepare_tests(hparams: Mapping[str, Any], prepared: Corpus) -> dict[str, Split]:
    """Return test set -> folder of its shards, of this corpus and of those only tested on."""
    tests: dict[str, Split] = {
        split: prepared.split(split) for split in hparams["corpus"]["test_splits"]
    }
    for name, corpus in hparams["test_corpora"].items():
        if corpus["data_folder"] is not None:
            other = prepare_corpus(corpus)
            tests |= {f"{name}/{split}": other.split(split) for split in corpus["test_splits"]}
    return tests


def build_brain(run: Run, run_opts: Any, *, run_log: RunLog) -> StampedeBrain:
    """Return the Brain that the YAML names, its modules on their device, its options checked."""
    hparams = run.hparams
    brain: StampedeBrain = hparams["brain_class"](
        modules=hparams["modules"],
        opt_class=hparams["opt_class"],
        hparams=hparams,
        run_opts=run_opts,
        checkpointer=hparams["checkpointer"],
    )
    brain.run_log = run_log
    return brain


def fit(
    hparams: Mapping[str, Any], brain: StampedeBrain, *, prepared: Corpus, transforms: Any
) -> None:
    """Train, or go on from the last checkpoint."""
    corpus = hparams["corpus"]
    brain.fit(
        hparams["epoch_counter"],
        hparams["train_loader"](prepared.split(corpus["train_split"]), transforms=transforms),
        hparams["valid_loader"](prepared.split(corpus["valid_split"]), transforms=transforms),
    )


def evaluate(
    hparams: Mapping[str, Any], brain: StampedeBrain, *, tests: Mapping[str, Split], transforms: Any
) -> dict[str, Any]:
    """Return test set -> results of the checkpoint that was best on validation data."""
    results = {}
    for name, folder in tests.items():
        brain.test_set = name
        brain.evaluate(hparams["test_loader"](folder, transforms=transforms))
        results[name] = brain.results
    return results


def main(argv: Sequence[str]) -> int:
    """Prepare, train and test; return the exit code."""
    watch = Stopwatch()
    with plain_faults():
        run = load_run(argv)
    hparams, output_folder = run.hparams, Path(run.hparams["output_folder"])
    if hparams["num_threads"] is not None:
        torch.set_num_threads(hparams["num_threads"])
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
        if not hparams["test_only"]:
            fit(hparams, brain, prepared=prepared, transforms=transforms)
        watch.lap("train")
        results = evaluate(hparams, brain, tests=tests, transforms=transforms)
        watch.lap("test")
        if if_main_process():
            folders = {**prepared.splits, **tests}
            record = run_record(run, brain, watch=watch, results=results, folders=folders)
            write_run_json(output_folder / "run.json", record)
            print(results_table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
