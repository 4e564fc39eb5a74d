"""Prepare a corpus: plan, shards by several workers or tasks, index, summary.

Every step leaves its result on disk under its final name only when it is whole, so that a run
that was killed goes on where it was, and ends with the same bytes: see the folder's life in
`prepare_corpus`. It does not matter who makes which shard.
"""

import logging
import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from data_prepare.corpus_plan import Division, make_plan
from data_prepare.executors import Crew, open_crew
from data_prepare.files import TEMPORARY_MARK, write_json
from data_prepare.finish import Jobs, await_shards, finish_corpus
from data_prepare.options import LATER_OPTIONS, NEUTRAL_OPTIONS, CommonOptions
from data_prepare.pool import WorkerDiedError, unordered_map
from data_prepare.prepared import (
    OPTIONS_NAME,
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
from data_prepare.selection import Selection
from data_prepare.shard_job import ShardJob, make_shard
from data_prepare.shard_plan import ShardPlan
from data_prepare.shared_folder import wait_for
from data_prepare.slices import Ledger, common_step, forget_slices, running
from data_prepare.sources import Source
from data_prepare.summary import describe

logger = logging.getLogger(__name__)

# Raised when the same options no longer give the same bytes.
VERSION = 1
PLAN_NAME = "plan"
_MAX_LISTED = 20


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
    all index.json are there. Slices share the folder: the first one makes the plan, the one that
    ends last writes what comes after the shards.

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
        The finished corpus, in `options.local_folder` if that is given; without splits if it is
        not finished, as only the plan or a slice was wanted.
    """
    neutral = set(NEUTRAL_OPTIONS)
    values = asdict(options)
    neutral |= {key for key in LATER_OPTIONS if not values.get(key)}
    kept = {key: value for key, value in values.items() if key not in neutral}
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
            with suppress(RuntimeError), locked(out_folder) as work:  # or tidies up now
                clear_work(work)
    else:
        wanted = _Wanted(source, out_folder, identity, options, division, selection or Selection())
        prepared = _prepare(wanted)
    if options.local_folder and prepared.splits:
        return copy_prepared(prepared, options.local_folder)
    return prepared


@dataclass(frozen=True)
class _Wanted:
    """What `prepare_corpus` was asked for."""

    source: Source
    out_folder: Path
    identity: dict[str, Any]
    options: CommonOptions
    division: Division
    selection: Selection


def _prepare(wanted: _Wanted) -> PreparedCorpus:
    options, out_folder, part = wanted.options, wanted.out_folder.absolute(), wanted.options.part
    with ExitStack() as stack:
        work = stack.enter_context(locked(out_folder, shared=part is not None))
        crew = stack.enter_context(
            open_crew(options.num_jobs, options.scheduler, work=work, root=wanted.source.root)
        )
        with common_step(work, "makes the plan") as ledger:
            plan = _find_plan(wanted, work, ledger, crew)
            if plan is None:
                return PreparedCorpus.load(wanted.out_folder)
            jobs = _list_jobs(plan, work, out_folder)
            if part is not None:
                stack.enter_context(running(work, part, ledger))
        if options.plan_only:
            logger.info("prepare %s: the plan is made, shards are left to do", out_folder)
            return PreparedCorpus(wanted.out_folder, {})
        everything = [job for split_jobs in jobs.values() for job in split_jobs]
        mine = everything if part is None else part.take(everything)
        _make_shards(crew, mine, plan, progress=options.progress)
        with common_step(work, "writes the index") as ledger:
            is_finished = _finish(wanted, work, plan, jobs, ledger)
    if not is_finished:
        logger.info("prepare %s: slice %s is done, others are not", out_folder, part)
        return PreparedCorpus(wanted.out_folder, {})
    return _await_corpus(wanted.out_folder) or PreparedCorpus.load(wanted.out_folder)


def _finish(wanted: _Wanted, work: Path, plan: ShardPlan, jobs: Jobs, ledger: Ledger) -> bool:
    """Finish the corpus if all shards are there; tells whether it is finished."""
    part, out_folder = wanted.options.part, wanted.out_folder
    is_end = part is None or ledger.note_done(part)
    if not ledger.is_finished and find_prepared(out_folder) is None:
        if not is_end and not all(job.is_done() for split in jobs.values() for job in split):
            return False
        await_shards(jobs)
        share = wanted.options.max_rejected_share
        summary = finish_corpus(out_folder, plan, jobs, max_rejected_share=share)
        logger.info("prepare %s: done\n%s", out_folder, describe(summary))
    ledger.is_finished = True
    clear_work(work)
    forget_slices(work)
    return True


def _await_corpus(out_folder: Path) -> PreparedCorpus | None:
    return wait_for(lambda: find_prepared(out_folder), folder=out_folder)


def _find_plan(wanted: _Wanted, work: Path, ledger: Ledger, crew: Crew) -> ShardPlan | None:
    """Return the plan, made now if there is none; None if the corpus is finished."""
    out_folder, options = wanted.out_folder, wanted.options
    if check_out_folder(out_folder, wanted.identity, overwrite=options.overwrite):
        ledger.clear()
        delete_prepared(out_folder)
    prepared = find_prepared(out_folder)
    if prepared is None and ledger.is_finished and options.part is not None:
        prepared = _await_corpus(out_folder)
    if prepared is not None:
        return None
    folder = work.absolute() / PLAN_NAME
    plan = ShardPlan.load(folder)
    if plan is None and ledger.has_plan:
        plan = wait_for(lambda: ShardPlan.load(folder), folder=work)
    if plan is None:
        ledger.clear()
        write_json(out_folder / OPTIONS_NAME, as_json(wanted.identity))
        plan = _make_plan(wanted, folder, crew)
        ledger.has_plan = True
    return plan


def _make_plan(wanted: _Wanted, folder: Path, crew: Crew) -> ShardPlan:
    """Make the plan under another name, so that it appears as a whole."""
    logger.info("prepare %s: makes the plan", wanted.out_folder)
    clear_work(folder.parent)
    temporary = folder.with_name(f"{PLAN_NAME}{TEMPORARY_MARK}{uuid.uuid4().hex[:12]}")
    temporary.mkdir()
    make_plan(
        wanted.source,
        temporary,
        crew,
        options=wanted.options,
        division=wanted.division,
        selection=wanted.selection,
    )
    temporary.rename(folder)
    plan = ShardPlan.load(folder)
    assert plan is not None, "it was just made"
    return plan


def _list_jobs(plan: ShardPlan, work: Path, out_folder: Path) -> dict[str, list[ShardJob]]:
    jobs = {
        split: [
            ShardJob(plan.folder, work / "receipts", out_folder, split, number)
            for number in range(plan.num_shards(split))
        ]
        for split in plan.splits
    }
    for split, split_jobs in jobs.items():
        for folder in (split_jobs[0].shard_path.parent, split_jobs[0].receipt_path.parent):
            folder.mkdir(parents=True, exist_ok=True)
        logger.info("split %s: %d shards", split, len(split_jobs))
    return jobs


def _make_shards(crew: Crew, jobs: Sequence[ShardJob], plan: ShardPlan, *, progress: bool) -> None:
    started_s = time.monotonic()
    _remove_temporaries(jobs)
    waiting = [job for job in jobs if not job.is_done()]
    with (
        tqdm(
            total=len(jobs), initial=len(jobs) - len(waiting), desc="shards", disable=not progress
        ) as bar,
        closing(unordered_map(crew.executor, make_shard, waiting, ahead=crew.ahead)) as finished,
    ):
        for job, future in finished:
            try:
                future.result()
            except WorkerDiedError as error:
                raise _with_recordings(error, job, plan) from error
            bar.update()
    logger.info(
        "prepare: %d of %d shards made in %.1f s by %s; workers that died and were replaced: %d",
        len(waiting),
        len(jobs),
        time.monotonic() - started_s,
        crew.title,
        crew.num_deaths(),
    )


def _remove_temporaries(jobs: Sequence[ShardJob]) -> None:
    """Delete what killed makers of these shards left; others may be making other shards."""
    names = {job.shard_path for job in jobs}
    for folder in {path.parent for path in names}:
        for path in folder.glob(f"*{TEMPORARY_MARK}*"):
            if path.with_name(path.name.partition(TEMPORARY_MARK)[0]) in names:
                path.unlink(missing_ok=True)


def _with_recordings(error: WorkerDiedError, job: ShardJob, plan: ShardPlan) -> RuntimeError:
    recordings = sorted({line.recording for line in plan.utterances(job.split, job.number)})
    return RuntimeError(
        f"{error} This shard has {len(recordings)} recordings in {plan.root}: "
        f"{', '.join(recordings[:_MAX_LISTED])}{' ...' if len(recordings) > _MAX_LISTED else ''}"
    )
