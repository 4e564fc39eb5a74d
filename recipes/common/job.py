"""The parts of a run that every way of training shares: corpora, tokens, Brain, test sets."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from speechbrain.utils.distributed import if_main_process, run_on_main, run_once_per_node

from data_prepare.prepared import PreparedCorpus, copy_prepared, find_prepared
from data_prepare.stored_corpus import Corpus, Split, open_corpus
from recipes.common.agreement import check_agreement
from recipes.common.brain import StampedeBrain
from recipes.common.experiment import starts_of
from recipes.common.hparams import Run
from recipes.common.report import Stopwatch, results_table, run_record, write_run_json
from recipes.common.run_log import RunLog

logger = logging.getLogger("train")


def prepare_corpus(corpus: Mapping[str, Any]) -> Corpus:
    """Make what is missing of a corpus on the main process; every rank gets its folders.

    Where only the shards were brought along, as to a cluster, they are used as they are. The main
    process decides that for all. With a ``local_folder`` each node gets a copy of its own.

    Arguments
    ---------
    corpus : Mapping[str, Any]
        A corpus of the YAML.

    Returns
    -------
    Corpus
        Where its splits lie.
    """
    place, copies = run_on_main(_make_missing, [corpus])
    run_once_per_node(_copy_to_node, [copies])
    return open_corpus(place, remote=corpus.get("remote"))


def _make_missing(corpus: Mapping[str, Any]) -> tuple[str | Path, list[tuple[Path, Path]]]:
    """Return where the corpus lies, and what each node must copy to where for that."""
    source, shards = corpus.get("data_folder"), corpus["shards_folder"]
    if source is not None and not Path(source).exists() and find_prepared(Path(shards)):
        logger.info("%s is absent: the finished shards in %s are used", source, shards)
        return shards, []
    for step in ("make", "prepare"):
        if corpus[step] is not None:
            corpus[step]()
    parts = [corpus, *corpus.get("parts", {}).values()]  # those of a mixture
    folders = [(p["shards_folder"], p.get("local_folder")) for p in parts]
    # `prepare` has filled those of this node that are used.
    copies = [(Path(a), Path(b)) for a, b in folders if b and find_prepared(Path(b))]
    return corpus.get("local_folder") or shards, copies


def _copy_to_node(copies: Sequence[tuple[Path, Path]]) -> None:
    for shards, local in copies:
        copy_prepared(PreparedCorpus.load(shards), local)


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


def open_data(
    hparams: Mapping[str, Any], prepared: Corpus, *, transforms: Any, **options: Any
) -> tuple[Any, Any]:
    """Return training data, loaded with further options, and validation data: equal on all ranks.

    A ValueError on every rank if they differ.
    """
    corpus = hparams["corpus"]
    train_folder = prepared.split(corpus["train_split"])
    valid_folder = prepared.split(corpus["valid_split"])
    train = hparams["train_loader"](train_folder, transforms=transforms, **options)
    valid = hparams["valid_loader"](valid_folder, transforms=transforms)
    check_agreement({"train": train, "valid": valid})
    return train, valid


def evaluate(
    hparams: Mapping[str, Any], brain: StampedeBrain, *, tests: Mapping[str, Split], transforms: Any
) -> dict[str, Any]:
    """Return test set -> results of the checkpoint that was best on validation data."""
    results = {}
    for name, folder in tests.items():
        brain.test_set = name
        data = hparams["test_loader"](folder, transforms=transforms)
        check_agreement({name: data})
        brain.evaluate(data)
        results[name] = brain.results
        if brain.num_nonfinite_batches:
            results[name] |= {"nonfinite_batches": brain.num_nonfinite_batches}
    return results


def record_run(
    run: Run,
    brain: StampedeBrain,
    *,
    watch: Stopwatch,
    results: Mapping[str, Any],
    folders: Mapping[str, Split],
    more: Mapping[str, Any] | None = None,
) -> str:
    """Write run.json into the output folder, on the main process.

    Arguments
    ---------
    run : Run
        Command line and YAML.
    brain : StampedeBrain
        After training and testing.
    watch : Stopwatch
        Laps "prepare", "train" and "test", in seconds.
    results : Mapping[str, Any]
        Test set -> summary.
    folders : Mapping[str, Split]
        Split or test set -> its shards.
    more : Mapping[str, Any] | None
        Further fields.

    Returns
    -------
    str
        Table of the results, for people.
    """
    record = run_record(run, brain, watch=watch, results=results, folders=folders)
    if if_main_process():
        folder = Path(run.hparams["output_folder"])
        starts = starts_of(folder)
        record |= {"commit": starts[-1]["commit"], "starts": starts, **(more or {})}
        has_trained = brain.optimizer_step > brain.first_update
        write_run_json(folder / "run.json", record, has_trained=has_trained)
    return results_table(results)
