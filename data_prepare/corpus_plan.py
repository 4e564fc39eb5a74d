"""From a corpus to a plan of shards: read, choose the hours, divide, put in order."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from data_prepare.executors import Crew
from data_prepare.filters import Rejection, check_rejected_share
from data_prepare.options import CommonOptions
from data_prepare.scan import (
    REJECTED_NAME,
    ROWS_NAME,
    ScannedCorpus,
    decode_row,
    scan_corpus,
    stable_hash,
    write_rejections,
)
from data_prepare.selection import Selection, select
from data_prepare.shard_job import tools
from data_prepare.shard_plan import ShardPlan, ShardRules, write_plan
from data_prepare.sources import Source
from data_prepare.splits import LEFT_OUT, SpeechTable, split_groups, split_utterances
from data_prepare.utterance import safe_key

_SPLIT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
_MAX_LISTED = 20
_REASONS = {
    1: ("hours_limit", "its category has the hours wanted"),
    2: ("speaker_in_other_split", "most of this speaker's speech is in another split"),
}
_OVER_HOURS, _OTHER_SPLIT = _REASONS


@dataclass(frozen=True)
class Division:
    """Where the splits come from.

    Arguments
    ---------
    by : str
        "corpus": the utterances name them; "group" or "utterance": by shares.
    shares : mapping
        Split to share of the hours, for the latter.
    """

    by: Literal["corpus", "group", "utterance"] = "corpus"
    shares: Mapping[str, float] = field(default_factory=dict)


def make_plan(
    source: Source,
    folder: Path,
    crew: Crew,
    *,
    options: CommonOptions,
    division: Division,
    selection: Selection,
) -> ShardPlan:
    """Read the corpus and decide which utterance goes into which shard.

    Arguments
    ---------
    source : Source
        The corpus.
    folder : Path
        The plan's folder, empty.
    crew : Crew
        Reads transcripts.
    options : CommonOptions
        Bounds, order, seed, numbers of shards.
    division : Division
        Where the splits come from.
    selection : Selection
        Hours wanted.

    Returns
    -------
    ShardPlan
        The plan, on disk.

    Raises
    ------
    ValueError
        If two utterances have the same id, too many are rejected, nothing is left, or the
        corpus cannot be divided as asked.
    """
    corpus = scan_corpus(
        source,
        folder,
        crew.executor,
        filters=options.filters,
        selection=selection,
        seed=options.seed,
        ahead=crew.ahead,
        progress=options.progress,
    )
    rejected_path = folder / REJECTED_NAME
    _check_unique(corpus, folder / ROWS_NAME)
    check_rejected_share(
        corpus.counts.faults,
        num_kept=len(corpus.seconds),
        max_share=options.max_rejected_share,
        listing=str(rejected_path),
    )
    is_taken, shortages = select(
        selection, corpus.seconds, corpus.categories, corpus.category_names
    )
    names, splits, notes = _divide(corpus, is_taken, division, seed=options.seed)
    _check_split_names(names, options)
    reasons = np.where(is_taken, np.where(splits == LEFT_OUT, _OTHER_SPLIT, 0), _OVER_HOURS)
    _leave_out(corpus, folder, reasons)
    splits = np.where(is_taken, splits, LEFT_OUT)
    rules = ShardRules(
        sorting=options.sorting,
        seed=options.seed,
        rate_hz=options.rate_hz,
        shard_bytes=options.shard_bytes,
        num_shards=options.num_shards,
    )
    rows_of = {name: np.flatnonzero(splits == number) for number, name in enumerate(names)}
    arranged = {
        name: rules.arrange(corpus, rows, name) for name, rows in rows_of.items() if len(rows)
    }
    if not arranged:
        raise ValueError(
            f"prepare: no utterance is left (rejected: {dict(corpus.counts.faults)}, left out: "
            f"{dict(corpus.counts.choices)}); expected at least one; look into {rejected_path}."
        )
    content = {
        "root": str(source.root.absolute()),
        "tools": tools(),
        "rate_hz": options.rate_hz,
        "rejected": dict(sorted(corpus.counts.faults.items())),
        "left_out": dict(sorted(corpus.counts.choices.items())),
        "notes": [f"ran out: {shortage}" for shortage in shortages] + notes,
    }
    write_plan(folder, corpus, arranged, content)
    plan = ShardPlan.load(folder)
    assert plan is not None, "it was just written"
    return plan


def _divide(
    corpus: ScannedCorpus, is_taken: npt.NDArray[np.bool_], division: Division, *, seed: int
) -> tuple[list[str], npt.NDArray[np.integer], list[str]]:
    """Return names of splits, each utterance's number, and what is worth a note."""
    names = list(division.shares)
    if division.by == "corpus":
        return corpus.split_names, corpus.splits, []
    if division.by == "utterance":
        hashes = corpus.hashes * np.uint64(0x9E3779B97F4A7C15)  # other bits than the order's
        return names, split_utterances(hashes, shares=list(division.shares.values())), []
    rows = np.flatnonzero(is_taken)
    table, groups = _speech_table(corpus, rows)
    ranks = [stable_hash(seed, corpus.group_names[group]) for group in groups.tolist()]
    split = split_groups(
        table,
        order=np.argsort(np.array(ranks, dtype=np.uint64), kind="stable"),
        num_speakers=len(corpus.speaker_names),
        shares=division.shares,
    )
    splits = np.full(len(is_taken), LEFT_OUT)
    places = np.searchsorted(groups, corpus.groups[rows])
    splits[rows] = split.split_of(places, corpus.speakers[rows])
    notes = []
    if split.max_groups is not None:
        lost = rows[splits[rows] == LEFT_OUT]
        notes.append(
            f"speakers in more than {split.max_groups} groups did not tie groups together; "
            f"{len(lost)} utterances ({corpus.seconds[lost].sum() / 3600:.3f} h) of speakers who "
            "are mostly in another split are left out"
        )
    return names, splits, notes


def _speech_table(
    corpus: ScannedCorpus, rows: npt.NDArray[np.int64]
) -> tuple[SpeechTable, npt.NDArray[np.integer]]:
    """Return seconds by (group, speaker), groups renumbered, and the groups' old numbers."""
    groups, places = np.unique(corpus.groups[rows], return_inverse=True)
    num_speakers = len(corpus.speaker_names) + 1
    pairs = places.astype(np.int64) * num_speakers + corpus.speakers[rows] + 1
    pairs, inverse = np.unique(pairs, return_inverse=True)
    seconds = np.bincount(inverse, weights=corpus.seconds[rows], minlength=len(pairs))
    table = SpeechTable(
        groups=pairs // num_speakers,
        speakers=pairs % num_speakers - 1,
        seconds=seconds.astype(np.float64),
    )
    return table, groups


def _leave_out(corpus: ScannedCorpus, folder: Path, reasons: npt.NDArray[np.integer]) -> None:
    """List utterances that the selection or the division leaves out."""
    if not reasons.any():
        return
    with (
        (folder / ROWS_NAME).open("rb") as rows,
        (folder / REJECTED_NAME).open("a", encoding="utf-8", newline="\n") as rejected,
    ):
        for line, reason in zip(rows, reasons.tolist(), strict=True):
            if reason:
                rejection = Rejection(decode_row(line).id, *_REASONS[reason], is_choice=True)
                corpus.counts.add([rejection])
                write_rejections(rejected, [rejection])


def _check_unique(corpus: ScannedCorpus, path: Path) -> None:
    order = np.argsort(corpus.hashes, kind="stable")
    is_twin = corpus.hashes[order][1:] == corpus.hashes[order][:-1]
    if not is_twin.any():
        return
    twins = np.union1d(order[1:][is_twin], order[:-1][is_twin])
    counts: dict[str, int] = {}
    with path.open("rb") as file:
        for offset in corpus.offsets[twins].tolist():
            file.seek(offset)
            identifier = decode_row(file.readline()).id
            counts[identifier] = counts.get(identifier, 0) + 1
    repeated = [identifier for identifier, count in counts.items() if count > 1]
    if repeated:
        raise ValueError(
            f"prepare: {len(repeated)} ids occur more than once: {repeated[:_MAX_LISTED]} (keys "
            f"such as {safe_key(repeated[0])}); expected ids to be unique; rename or remove them."
        )


def _check_split_names(names: Sequence[str], options: CommonOptions) -> None:
    bad = [name for name in names if not _SPLIT_NAME.fullmatch(name)]
    if bad:
        raise ValueError(
            f"prepare: split names {bad}; expected letters, digits, '_', '.', '+', '-' only, as "
            "they become folders; rename these splits."
        )
    unknown = sorted(set(options.num_shards) - set(names))
    if unknown:
        raise ValueError(
            f"prepare: num_shards names splits {unknown}; expected some of {sorted(names)}; "
            "correct num_shards."
        )


def plan_counts(content: dict[str, Any]) -> int:
    """Return the number of utterances that a plan holds."""
    return sum(bounds[-1] for bounds in content["bounds"].values())
