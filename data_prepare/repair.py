"""Rebuild the index of a split from its shards.

The shards hold all that the index says, so an index that was lost comes back byte for byte. What
is damaged is reported; it is left out only when that is asked for, and then noted in summary.json.
"""

import json
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_prepare.duplicates import KeyRegister
from data_prepare.files import write_json
from data_prepare.findings import Findings
from data_prepare.index import ShardEntry, ShardIndex, ShardPart, write_index
from data_prepare.index_format import read_content
from data_prepare.pool import worker_pool
from data_prepare.prepared import OPTIONS_NAME, SUMMARY_NAME, locked
from data_prepare.shard_check import ShardReport, ShardTask, read_part
from data_prepare.shards import shard_name
from data_prepare.split_check import REPAIR_NAME, SHARD_PATTERN, shard_reports

_NUMBER = re.compile(r"shard-(\d{6})\.tar")


@dataclass
class RepairResult:
    """What became of a repair.

    Arguments
    ---------
    folder : Path
        Of the split.
    findings : Findings
        What is wrong with the shards.
    damaged : list[str]
        Shards that are not whole, or missing.
    is_written : bool
        Whether there is a new index.
    is_identical : bool | None
        Whether it is that of the former index.json; None if that could not be read.
    """

    folder: Path
    findings: Findings = field(default_factory=Findings)
    damaged: list[str] = field(default_factory=list)
    is_written: bool = False
    is_identical: bool | None = None

    def describe(self) -> str:
        """Return the result as text."""
        if not self.is_written:
            return (
                f"repair {self.folder}: not done, {len(self.damaged)} damaged or missing shards, "
                f"{self.findings.counts['duplicate_key']} double keys; expected whole shards; "
                "bring them back, prepare the corpus again, or leave damaged shards out with "
                f"--drop_damaged.\n{self.findings.describe()}"
            )
        same = {True: "the same as before", False: "another than before", None: "new"}
        left_out = f", without {', '.join(self.damaged)}" if self.damaged else ""
        return f"repair {self.folder}: index rebuilt, {same[self.is_identical]}{left_out}"


def repair_split(
    folder: Path, *, num_jobs: int = 1, drop_damaged: bool = False, progress: bool = False
) -> RepairResult:
    """Rebuild utterances.npy, utterances.jsonl and index.json of a split.

    Every shard is read and decoded. If index.json is whole, its shards must have the checksums
    that it says; if not, all shards must be whole in themselves, numbered without a gap, and as
    many as summary.json says.

    Arguments
    ---------
    folder : Path
        Of the split.
    num_jobs : int
        Processes.
    drop_damaged : bool
        Leave damaged and missing shards out; without it they prevent the repair.
    progress : bool
        Show a progress bar.

    Returns
    -------
    RepairResult
        What was done or why not.
    """
    folder = Path(folder)
    with locked(_corpus_folder(folder)) as work:
        _check_finished(folder, work)
        parts_folder = folder / REPAIR_NAME
        shutil.rmtree(parts_folder, ignore_errors=True)
        parts_folder.mkdir()
        try:
            with worker_pool(num_jobs) as pool:
                ahead = 2 * num_jobs if num_jobs > 1 else 0
                return _repair(folder, pool, ahead, drop_damaged=drop_damaged, progress=progress)
        finally:
            shutil.rmtree(parts_folder)


def _repair(
    folder: Path, pool: Executor, ahead: int, *, drop_damaged: bool, progress: bool
) -> RepairResult:
    result, keys = RepairResult(folder), KeyRegister()
    content = _content(folder)
    kept: list[tuple[ShardTask, ShardReport]] = []
    for task, report in shard_reports(
        pool, _tasks(folder, content), ahead=ahead, progress=progress
    ):
        result.findings.merge(report.findings)
        if report.findings:
            result.damaged.append(task.name)
        else:
            keys.add(task.path, report)
            kept.append((task, report))
    rates = set().union(*(report.rates_hz for _, report in kept))
    if len(rates) > 1:
        where = f"{folder.name}/{SHARD_PATTERN}"
        result.findings.add_all("shard_structure", where, [f"several rates: {sorted(rates)} Hz"])
    result.findings.merge(keys.duplicates())
    is_possible = len(rates) == 1 and not result.findings.counts["duplicate_key"]
    if is_possible and (drop_damaged or not result.damaged):
        _write(folder, kept, content, rate_hz=rates.pop(), has_all=not result.damaged)
        index = ShardIndex.load(folder)
        result.is_written = True
        result.is_identical = None if content is None else content["checksum"] == index.checksum
        if result.damaged:
            _note(folder, index, result.damaged)
    return result


def _tasks(folder: Path, content: dict[str, Any] | None) -> list[ShardTask]:
    parts = folder / REPAIR_NAME
    if content is None:
        names = [shard_name(number) for number in range(_num_shards(folder))]
        names += sorted({path.name for path in folder.glob(SHARD_PATTERN)} - set(names))
        return [ShardTask(folder, name, part_path=parts / f"{name}.json") for name in names]
    entries = [ShardEntry(**entry) for entry in content["shards"]]
    return [
        ShardTask(folder, entry.name, entry, part_path=parts / f"{entry.name}.json")
        for entry in entries
    ]


def _content(folder: Path) -> dict[str, Any] | None:
    """Return the content of index.json, None if it can not be believed."""
    with suppress(ValueError, OSError):
        return read_content(folder)
    return None


def _num_shards(folder: Path) -> int:
    """Return how many shards there should be, from their numbers and from summary.json."""
    numbers = [int(m[1]) for p in folder.glob(SHARD_PATTERN) if (m := _NUMBER.fullmatch(p.name))]
    planned = _summary(folder).get("splits", {}).get(folder.name, {}).get("num_shards", 0)
    return max([planned, *(number + 1 for number in numbers)])


def _write(
    folder: Path,
    kept: list[tuple[ShardTask, ShardReport]],
    content: dict[str, Any] | None,
    *,
    rate_hz: int,
    has_all: bool,
) -> None:
    categories = sorted(set().union(*(report.categories for _, report in kept)))
    if content is not None and has_all:
        categories = content["categories"]
    write_index(
        folder,
        _parts(kept),
        split=folder.name if content is None else content["split"],
        rate_hz=rate_hz,
        categories=categories,
        num_utterances=sum(len(report.key_hashes) for _, report in kept),
    )


def _parts(kept: list[tuple[ShardTask, ShardReport]]) -> Iterator[ShardPart]:
    for task, report in kept:
        assert task.part_path is not None and report.entry is not None, "it was read"
        yield read_part(task.part_path, report.entry)


def _note(folder: Path, index: ShardIndex, damaged: list[str]) -> None:
    """Bring summary.json up to date with an index that lacks shards."""
    from data_prepare.summary import summarise_split  # draws, which takes long to import

    summary = _summary(folder)
    if folder.name not in summary.get("splits", {}):
        return
    summary["splits"][folder.name], _ = summarise_split(index)
    note = f"{folder.name} was repaired without {len(damaged)} shards: {', '.join(damaged[:20])}"
    summary.setdefault("notes", []).append(note)
    write_json(folder.parent / SUMMARY_NAME, summary)


def _summary(folder: Path) -> dict[str, Any]:
    path = folder.parent / SUMMARY_NAME
    if not path.is_file():
        return {}
    summary = json.loads(path.read_text(encoding="utf-8"))
    return summary if isinstance(summary, dict) else {}


def _corpus_folder(folder: Path) -> Path:
    """Return the folder that a preparer would lock: the corpus, or a split that stands alone."""
    return folder.parent if (folder.parent / OPTIONS_NAME).is_file() else folder


def _check_finished(folder: Path, work: Path) -> None:
    if any(path.is_dir() for path in work.iterdir()):
        raise ValueError(
            f"repair {folder}: its preparation has not ended ({work} holds a plan); expected a "
            "finished corpus; run the preparer again, it finishes what is left."
        )
