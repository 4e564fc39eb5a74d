"""Write everything that stands beside the shards, when all of them are there."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from data_prepare.files import atomic_path, remove_temporaries, write_json
from data_prepare.filters import check_rejected_share
from data_prepare.index import INDEX_NAME, ShardIndex, ShardPart, write_index
from data_prepare.prepared import PLOT_NAME, REJECTED_NAME, SUMMARY_NAME
from data_prepare.scan import write_rejections
from data_prepare.shard_job import Receipt, ShardJob
from data_prepare.shard_plan import ShardPlan
from data_prepare.shared_folder import wait_for
from data_prepare.summary import draw_summary, summarise_split

logger = logging.getLogger(__name__)

Jobs = Mapping[str, Sequence[ShardJob]]
_MAX_LISTED = 10


def await_shards(jobs: Jobs) -> None:
    """Wait until all shards can be seen, which other nodes may have made just now.

    Arguments
    ---------
    jobs : Jobs
        Split to its shards.

    Raises
    ------
    RuntimeError
        If some stay out of sight.
    """
    missing = [job for split_jobs in jobs.values() for job in split_jobs]

    def see_all() -> bool:
        missing[:] = [job for job in missing if not job.is_done()]
        paths = [path for job in missing for path in (job.shard_path, job.receipt_path)]
        for folder in {path.parent for path in paths}:
            list(folder.iterdir())  # makes a network file system ask its server
        return not missing

    if not wait_for(see_all):
        names = [str(job) for job in missing[:_MAX_LISTED]]
        raise RuntimeError(
            f"prepare: {len(missing)} shards were made but cannot be seen (or their receipts): "
            f"{names}; expected a folder that all nodes share; run again without slice."
        )


def finish_corpus(
    out_folder: Path, plan: ShardPlan, jobs: Jobs, *, max_rejected_share: float
) -> dict[str, Any]:
    """Write listing, indexes, plot and summary.

    Arguments
    ---------
    out_folder : Path
        The prepared corpus.
    plan : ShardPlan
        Its plan.
    jobs : Jobs
        Split to its shards, all made.
    max_rejected_share : float
        Stop if more than this share of the utterances is rejected.

    Returns
    -------
    dict[str, Any]
        The summary.

    Raises
    ------
    ValueError
        If too many utterances are rejected.
    """
    faults, num_kept = _write_rejected(out_folder, plan, jobs)
    share = check_rejected_share(
        faults,
        num_kept=num_kept,
        max_share=max_rejected_share,
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
    for split in jobs:
        remove_temporaries(out_folder / split)
    write_json(out_folder / SUMMARY_NAME, summary)
    return summary


def _write_rejected(out_folder: Path, plan: ShardPlan, jobs: Jobs) -> tuple[Counter[str], int]:
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


def _write_split_index(split: str, jobs: Sequence[ShardJob], *, rate_hz: int) -> ShardIndex:
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


def _parts(jobs: Sequence[ShardJob]) -> Iterator[ShardPart]:
    for job in jobs:
        yield Receipt.load(job).part
