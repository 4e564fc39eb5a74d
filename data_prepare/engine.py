"""Prepare a corpus: plan, shards in several processes, index, summary.

Every step leaves its result on disk under its final name only when it is whole, so that a run
that was killed goes on where it was, and ends with the same bytes: see the folder's life in
`prepare_corpus`.
"""

import logging
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

from tqdm import tqdm

from data_prepare.corpus_plan import Division, make_plan
from data_prepare.files import atomic_path, remove_temporaries, write_json
from data_prepare.filters import check_rejected_share
from data_prepare.index import INDEX_NAME, ShardIndex, ShardPart, write_index
from data_prepare.options import NEUTRAL_OPTIONS, CommonOptions
from data_prepare.pool import ordered_map, worker_pool
from data_prepare.prepared import (
    OPTIONS_NAME,
    PLOT_NAME,
    REJECTED_NAME,
    SUMMARY_NAME,
    WORK_NAME,
    PreparedCorpus,
    as_json,
    check_out_folder,
    clear_work,
    copy_prepared,
    delete_prepared,
    find_prepared,
    locked,
)
from data_prepare.scan import write_rejections
from data_prepare.selection import Selection
from data_prepare.shard_job import Receipt, ShardJob, make_shard
from data_prepare.shard_plan import ShardPlan
from data_prepare.sources import Source
from data_prepare.summary import describe, draw_summary, summarise_split

logger = logging.getLogger(__name__)

# Raised when the same options no longer give the same bytes.
VERSION = 1
PLAN_NAME = "plan"


def prepare_corpus(
    source: Source,
    out_folder: Path,
    *,
    name: str,
    options: CommonOptions,
    division: Division,
    selection: Selection | None = None,
) -> PreparedCorpus:
    """Prepare a corpus, or what is left of it, or find it prepared.

    The output folder's life: options.json; the plan in `.work/plan`; shards, each with a receipt
    in `.work/receipts`; rejected.jsonl; for each split `utterances.*` and then index.json;
    summary.png; summary.json; `.work` is emptied. The corpus is finished when summary.json and
    all index.json are there.

    Arguments
    ---------
    source : Source
        The corpus.
    out_folder : Path
        Where it goes.
    name : str
        The preparer's name.
    options : CommonOptions
        All options.
    division : Division
        Where the splits come from.
    selection : Selection | None
        Hours wanted; None for everything.

    Returns
    -------
    PreparedCorpus
        The finished corpus, in `options.local_folder` if that is given.
    """
    neutral = set(NEUTRAL_OPTIONS)
    kept = {key: value for key, value in asdict(options).items() if key not in neutral}
    identity = {
        "preparer": name,
        "version": VERSION,
        "options": kept,
        "fingerprint": source.fingerprint(),
    }
    is_to_empty = check_out_folder(out_folder, identity, overwrite=options.overwrite)
    prepared = None if is_to_empty else find_prepared(out_folder)
    if prepared is not None:
        logger.info("prepare %s: found finished, nothing to do", out_folder)
        if (out_folder / WORK_NAME / PLAN_NAME).is_dir():  # killed while it tidied up
            with locked(out_folder) as work:
                clear_work(work)
    else:
        with locked(out_folder) as work:
            if check_out_folder(out_folder, identity, overwrite=options.overwrite):
                delete_prepared(out_folder)
            write_json(out_folder / OPTIONS_NAME, as_json(identity))
            prepared = _prepare(
                source,
                out_folder,
                work,
                options=options,
                division=division,
                selection=selection or Selection(),
            )
            clear_work(work)
    return copy_prepared(prepared, options.local_folder) if options.local_folder else prepared


def _prepare(
    source: Source,
    out_folder: Path,
    work: Path,
    *,
    options: CommonOptions,
    division: Division,
    selection: Selection,
) -> PreparedCorpus:
    started = time.monotonic()
    with worker_pool(options.num_jobs) as pool:
        plan = ShardPlan.load(work / PLAN_NAME)
        if plan is None:
            clear_work(work)
            (work / PLAN_NAME).mkdir()
            plan = make_plan(
                source,
                work / PLAN_NAME,
                pool,
                options=options,
                division=division,
                selection=selection,
            )
        jobs = {
            split: [
                ShardJob(plan.folder, work / "receipts", out_folder, split, number)
                for number in range(plan.num_shards(split))
            ]
            for split in plan.splits
        }
        _make_shards(pool, jobs, options)
    summary = _finish(out_folder, plan, jobs, options)
    logger.info("prepare %s: done\n%s", out_folder, describe(summary))
    hours = sum(figures["hours"] for figures in summary["splits"].values())
    seconds = time.monotonic() - started
    logger.info("%.2f h of audio in %.1f s with %d jobs", hours, seconds, options.num_jobs)
    return PreparedCorpus.load(out_folder)


def _make_shards(pool: Executor, jobs: dict[str, list[ShardJob]], options: CommonOptions) -> None:
    for split, split_jobs in jobs.items():
        for folder in (split_jobs[0].shard_path.parent, split_jobs[0].receipt_path.parent):
            folder.mkdir(parents=True, exist_ok=True)
            remove_temporaries(folder)
        logger.info("split %s: %d shards", split, len(split_jobs))
    everything = [job for split_jobs in jobs.values() for job in split_jobs]
    waiting = [job for job in everything if not job.is_done()]
    ahead = 2 * options.num_jobs if options.num_jobs > 1 else 0
    with (
        tqdm(
            total=len(everything),
            initial=len(everything) - len(waiting),
            desc="shards",
            disable=not options.progress,
        ) as bar,
        closing(ordered_map(pool, make_shard, waiting, ahead=ahead)) as finished,
    ):
        for _ in finished:
            bar.update()


def _finish(
    out_folder: Path, plan: ShardPlan, jobs: dict[str, list[ShardJob]], options: CommonOptions
) -> dict[str, Any]:
    """Write everything that stands beside the shards; the splits' index.json come last."""
    faults, num_kept = _write_rejected(out_folder, plan, jobs)
    share = check_rejected_share(
        faults,
        num_kept=num_kept,
        max_share=options.max_rejected_share,
        listing=str(out_folder / REJECTED_NAME),
    )
    summary: dict[str, Any] = {
        "splits": {},
        "rejected": dict(sorted(faults.items())),
        "rejected_share": round(share, 6),
        "left_out": plan.content["left_out"],
        "speakers_in_two_splits": 0,
        "notes": plan.content["notes"],
    }
    indexes, speakers = [], []
    for split, split_jobs in jobs.items():
        index = _write_split_index(split, split_jobs, rate_hz=plan.rate_hz)
        summary["splits"][split], split_speakers = summarise_split(index)
        indexes.append(index)
        speakers.append(split_speakers)
    shared = [one & other for one, other in combinations(speakers, 2)]
    summary["speakers_in_two_splits"] = len(set().union(*shared))
    draw_summary(out_folder / PLOT_NAME, summary, indexes)
    write_json(out_folder / SUMMARY_NAME, summary)
    return summary


def _write_rejected(
    out_folder: Path, plan: ShardPlan, jobs: dict[str, list[ShardJob]]
) -> tuple[Counter[str], int]:
    """Join the plan's rejections with the shards'; returns counts by reason, and those kept."""
    faults = Counter(plan.content["rejected"])
    num_kept = 0
    with (
        atomic_path(out_folder / REJECTED_NAME) as path,
        path.open("w", encoding="utf-8", newline="\n") as file,
        (plan.folder / REJECTED_NAME).open(encoding="utf-8", newline="\n") as planned,
    ):
        file.writelines(planned)
        for job in [job for split_jobs in jobs.values() for job in split_jobs]:
            receipt = Receipt.load(job)
            write_rejections(file, receipt.rejected)
            faults.update(rejection.reason for rejection in receipt.rejected)
            num_kept += receipt.part.entry.num_utterances
    return faults, num_kept


def _write_split_index(split: str, jobs: list[ShardJob], *, rate_hz: int) -> ShardIndex:
    folder = jobs[0].shard_path.parent
    if not (folder / INDEX_NAME).is_file():
        num_utterances, categories = 0, set()
        for part in _parts(jobs):
            num_utterances += part.entry.num_utterances
            categories |= {category for *_, category in part.rows}
        write_index(
            folder,
            _parts(jobs),
            split=split,
            rate_hz=rate_hz,
            categories=sorted(categories),
            num_utterances=num_utterances,
        )
    return ShardIndex.load(folder)


def _parts(jobs: list[ShardJob]) -> Iterator[ShardPart]:
    for job in jobs:
        yield Receipt.load(job).part
