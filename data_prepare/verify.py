"""Check a prepared corpus, and rebuild lost indexes from its shards.

    python -m data_prepare.verify work/bizspeech/shards --num_jobs 8

reads every byte: index files, checksums of shards, members, JSON, rows, audio. Nothing is
extracted and nothing outside the folder is opened. The findings are printed and written to
verify.json. The exit code is 0 if all is well, 1 if something was found, 2 for a wrong command.
"""

import functools
import json
import logging
import sys
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from data_prepare.command_line import run_command
from data_prepare.duplicates import KeyRegister
from data_prepare.files import write_json
from data_prepare.findings import Finding, Findings
from data_prepare.pool import worker_pool
from data_prepare.prepared import (
    OPTIONS_NAME,
    PLOT_NAME,
    REJECTED_NAME,
    SUMMARY_NAME,
    WORK_NAME,
)
from data_prepare.repair import repair_split
from data_prepare.split_check import (
    SplitCheck,
    check_split,
    find_split_folders,
    foreign_files,
    shard_reports,
)

logger = logging.getLogger(__name__)

REPORT_NAME = "verify.json"
_CORPUS_NAMES = (OPTIONS_NAME, SUMMARY_NAME, PLOT_NAME, REJECTED_NAME, WORK_NAME, REPORT_NAME)
_HOUR_S = 3600.0


@dataclass
class CorpusReport:
    """What a check of a corpus found.

    Arguments
    ---------
    folder : Path
        The corpus, or one split of it.
    depth : str
        "quick", "content" or "full".
    findings : Findings
        All that is wrong.
    splits : dict
        Checksum of the index, shards, utterances and hours by split, as its index says.
    broken : list[Path]
        Folders of the splits whose index or shards are not whole.
    """

    folder: Path
    depth: str
    findings: Findings = field(default_factory=Findings)
    splits: dict[str, dict[str, Any]] = field(default_factory=dict)
    broken: list[Path] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {
            "is_whole": not self.findings,
            "depth": self.depth,
            "splits": self.splits,
            "findings": self.findings.as_json(),
        }

    def describe(self) -> str:
        """Return the report as text."""
        lines = [
            f"{name}: {split['num_utterances']} utterances, {split['hours']:.2f} h in "
            f"{split['num_shards']} shards"
            for name, split in self.splits.items()
        ]
        end = self.findings.describe() or f"{self.folder}: all is well ({self.depth})"
        return "\n".join([*lines, end])


def verify_corpus(
    folder: Path,
    *,
    depth: Literal["quick", "content", "full"] = "full",
    num_jobs: int = 1,
    progress: bool = False,
) -> CorpusReport:
    """Check a prepared corpus or a split.

    Arguments
    ---------
    folder : Path
        A preparer's output folder, or the folder of a split.
    depth : Literal["quick", "content", "full"]
        "quick" reads the index files and looks at the shards' sizes, "content" reads every byte
        of the shards, "full" decodes too.
    num_jobs : int
        Processes.
    progress : bool
        Show a progress bar.

    Returns
    -------
    CorpusReport
        All findings.

    Raises
    ------
    FileNotFoundError
        If there is nothing prepared in the folder.
    """
    folder = Path(folder)
    split_folders = find_split_folders(folder) if folder.is_dir() else []
    if not split_folders:
        raise FileNotFoundError(
            f"verify: {folder} holds no prepared corpus{_parts_of_mixture(folder)}; expected a "
            "preparer's output folder, or a split's folder with its shards; correct the path."
        )
    report = CorpusReport(folder, depth)
    splits = [check_split(split_folder) for split_folder in split_folders]
    for split in splits:
        report.findings.merge(split.findings)
        if split.content is not None:
            report.splits[split.name] = _figures(split.content)
    if split_folders != [folder]:
        _check_corpus(report, splits)
    with worker_pool(num_jobs) as pool:
        ahead = 2 * num_jobs if num_jobs > 1 else 0
        _check_shards(report, splits, pool=pool, ahead=ahead, progress=progress)
    return report


def verify(
    folder: Path,
    *,
    depth: Literal["quick", "content", "full"] = "full",
    num_jobs: int = 1,
    repair: bool = False,
    drop_damaged: bool = False,
    progress: bool = True,
) -> CorpusReport:
    """Check a prepared corpus; print what is wrong, and write it to verify.json.

    The exit code is 0 if all is well, 1 if something was found, 2 if the command was wrong.

    Arguments
    ---------
    folder : Path
        A preparer's output folder, or the folder of one split.
    depth : Literal["quick", "content", "full"]
        "quick" reads index files and looks at the sizes of shards: seconds; "content" reads every
        byte of the shards too and compares checksums, members and rows; "full" also decodes all
        audio.
    num_jobs : int
        Processes.
    repair : bool
        Rebuild utterances.npy, utterances.jsonl and index.json of splits that are not whole from
        their shards, and check again. Shards are never changed.
    drop_damaged : bool
        With repair: leave damaged or missing shards out of the new index; without it they stop
        the repair.
    progress : bool
        Show a progress bar.

    Returns
    -------
    CorpusReport
        All findings, after the repair if there was one.
    """
    folder = Path(folder)
    report = verify_corpus(folder, depth=depth, num_jobs=num_jobs, progress=progress)
    if repair and report.broken:
        sys.stdout.write(report.findings.describe() + "\n")
        for split in report.broken:
            result = repair_split(
                split, num_jobs=num_jobs, drop_damaged=drop_damaged, progress=progress
            )
            sys.stdout.write(result.describe() + "\n")
        report = verify_corpus(folder, depth=depth, num_jobs=num_jobs, progress=progress)
    sys.stdout.write(report.describe() + "\n")
    try:
        write_json(folder / REPORT_NAME, report.as_json())
    except OSError as error:
        logger.warning("verify %s: %s is not written: %s", folder, REPORT_NAME, error)
    return report


def _check_shards(
    report: CorpusReport,
    splits: list[SplitCheck],
    *,
    pool: Executor,
    ahead: int,
    progress: bool,
) -> None:
    keys = KeyRegister()
    tasks = [task for split in splits for task in split.tasks(report.depth)]
    broken = {split.folder for split in splits if not split.is_whole}
    for task, found in shard_reports(pool, tasks, ahead=ahead, progress=progress):
        report.findings.merge(found.findings)
        keys.add(task.path, found)
        if found.findings:
            broken.add(task.folder)
    report.findings.merge(keys.duplicates())
    report.broken = sorted(broken)


def _parts_of_mixture(folder: Path) -> str:
    """Return where the splits of a mixture lie, as part of a message; "" if it is none."""
    parts = _planned_splits(folder, Findings()) if (folder / SUMMARY_NAME).is_file() else {}
    splits = [folder / str(part["folder"]) for part in parts.values() if "folder" in part]
    places = {split.resolve().parent for split in splits}
    return f" but a mixture of {', '.join(sorted(map(str, places)))}" if places else ""


def _figures(content: dict[str, Any]) -> dict[str, Any]:
    return {
        "index_checksum": content["checksum"],
        "num_shards": len(content["shards"]),
        "num_utterances": content["num_utterances"],
        "hours": content["num_samples"] / content["rate_hz"] / _HOUR_S,
    }


def _check_corpus(report: CorpusReport, splits: list[SplitCheck]) -> None:
    """Check what stands beside the splits."""
    folder, findings = report.folder, report.findings
    planned = _planned_splits(folder, findings)
    for finding in foreign_files(folder, [*_CORPUS_NAMES, *planned]):
        findings.add(finding)
    for name, figures in planned.items():
        found = report.splits.get(name)
        if found is None and name not in {split.name for split in splits}:
            findings.add(Finding("index", f"{folder.name}/{name}", "the split is missing"))
        elif found is not None and found["num_utterances"] != figures.get("num_utterances"):
            detail = (
                f"{figures.get('num_utterances')} utterances in {name}, "
                f"its index says {found['num_utterances']}"
            )
            findings.add(Finding("summary", f"{folder.name}/{SUMMARY_NAME}", detail))
    work = folder / WORK_NAME
    if work.is_dir() and any(path.is_dir() for path in work.iterdir()):
        detail = "plan and receipts are still there; run the preparer again, it ends what is left"
        findings.add(Finding("unfinished", f"{folder.name}/{WORK_NAME}", detail))


def _planned_splits(folder: Path, findings: Findings) -> dict[str, dict[str, Any]]:
    path = folder / SUMMARY_NAME
    where = f"{folder.name}/{SUMMARY_NAME}"
    if not path.is_file():
        findings.add(Finding("unfinished", where, "is missing; run the preparer again"))
        return {split.name: {} for split in find_split_folders(folder)}
    try:
        splits = json.loads(path.read_text(encoding="utf-8"))["splits"]
        return {str(name): dict(figures) for name, figures in splits.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        findings.add(Finding("summary", where, f"can not be read: {error!r}"))
        return {}


def _command(argv: Sequence[str]) -> int:
    from data_prepare import verify as module  # workers know this module by its full name

    reports: list[CorpusReport] = []

    @functools.wraps(module.verify)
    def run(**options: Any) -> None:
        reports.append(module.verify(**options))

    return run_command(run, argv) or int(bool(reports[0].findings))


if __name__ == "__main__":
    sys.exit(_command(sys.argv[1:]))
