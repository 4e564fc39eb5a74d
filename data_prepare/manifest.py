"""Prepare any corpus that is given as a manifest: JSON lines or a CSV table.

Fields: `id`, `path` (relative to the manifest), `text`, and optionally `speaker`, `split`,
`start` and `end` (seconds), `category`, `language`, `group` (call or session; the recording if
not given). Other names are mapped with `columns`; further fields go along with `keep`.

    python -m data_prepare.manifest my/manifest.jsonl work/my_corpus \
        --where task=asr source='AN4*' --rename_splits dev=valid
"""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from data_prepare.command_line import run_command
from data_prepare.corpus_plan import Division
from data_prepare.engine import prepare_corpus
from data_prepare.manifest_rows import SUFFIXES, Record, Where, as_text, read_records, value_faults
from data_prepare.options import SplitOptions, make_options, takes_options
from data_prepare.prepared import PreparedCorpus
from data_prepare.scan import stable_hash
from data_prepare.sources import RecordingHeaders, Scan, fingerprint_files, place
from data_prepare.utterance import Utterance

_WHERE = "prepare_manifest"
_NEEDED = ("id", "path", "text")
FIELDS = (*_NEEDED, "speaker", "split", "start", "end", "category", "language", "group")
_RECORDS_PER_TASK = 256
_MAX_LISTED = 20


@dataclass(frozen=True, kw_only=True)
class ManifestOptions(SplitOptions):
    """Options of `prepare_manifest`.

    Arguments
    ---------
    columns : dict[str, str]
        Where the manifest has other names: `text=sentence` takes the text from "sentence".
    where : dict[str, str]
        Take only records whose fields match, such as `task=asr source='AN4*'`: * and ? as in
        file names, in any case, alternatives with "|".
    rename_splits : dict[str, str]
        Other names for splits: `dev=valid`.
    keep : tuple[str, ...]
        Fields of the manifest that become the utterances' notes: `keep=[trigger_ends_ms]` gives
        `batch.notes[0]["trigger_ends_ms"]`. A table gives texts, null is left out.
    """

    columns: dict[str, str] = field(default_factory=dict)
    where: dict[str, str] = field(default_factory=dict)
    rename_splits: dict[str, str] = field(default_factory=dict)
    keep: tuple[str, ...] = ()

    def faults(self) -> list[str]:
        """Return what is wrong with the values, one line a fault."""
        unknown = sorted(set(self.columns) - set(FIELDS))
        names = ", ".join(FIELDS)
        faults = [f"columns maps {n!r}, which is none of {names}" for n in unknown]
        faults += ["keep names a field twice"] if len(set(self.keep)) < len(self.keep) else []
        return super().faults() + faults


@dataclass(frozen=True)
class RecordsTask:
    """Some records of a manifest, one after the other."""

    id: str
    offset: int
    line: int
    num_records: int


@dataclass(frozen=True)
class ManifestSource:
    """A manifest on disk.

    Arguments
    ---------
    path : Path
        The manifest.
    columns, where, rename_splits, keep : dict, dict, dict, tuple of str
        As in `ManifestOptions`.
    pieces : tuple of RecordsTask
        The whole manifest.
    """

    path: Path
    columns: dict[str, str]
    where: dict[str, str]
    rename_splits: dict[str, str]
    keep: tuple[str, ...] = ()
    pieces: tuple[RecordsTask, ...] = ()

    @property
    def root(self) -> Path:
        """Folder that paths are relative to."""
        return self.path.parent

    def __getstate__(self) -> dict[str, object]:
        """Leave the list of tasks behind: a worker gets the one it shall read."""
        return self.__dict__ | {"pieces": ()}

    def tasks(self) -> Sequence[RecordsTask]:
        """Return pieces of the manifest."""
        return self.pieces

    def read(self, task: RecordsTask) -> Scan:
        """Read some records and the headers of their recordings."""
        scan, headers = Scan(), RecordingHeaders()
        records = read_records(self.path, offset=task.offset, line=task.line)
        for _, record in zip(range(task.num_records), records, strict=False):
            if record.values is not None and Where(self.where).matches(record.values):
                notes = self.notes(record.values)
                utterance = self._utterance(self.named(record.values), notes)
                place(scan, utterance, headers.get(self.root / utterance.recording))
        return scan

    def fingerprint(self) -> str:
        """Return a digest over the manifest."""
        return fingerprint_files([self.path], root=self.root)

    def named(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return a record's values under our names; absent and null ones are left out."""
        ours = {name: values.get(self.columns.get(name, name)) for name in FIELDS}
        return {name: value for name, value in ours.items() if value is not None}

    def notes(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return those of a record's values that are kept as they are."""
        return {name: values[name] for name in self.keep if values.get(name) is not None}

    def _utterance(self, values: dict[str, Any], notes: dict[str, Any]) -> Utterance:
        end = values.get("end")
        split = as_text(values.get("split"))
        return Utterance(
            id=as_text(values["id"]),
            recording=str(values["path"]),
            start_s=float(values.get("start", 0.0)),
            end_s=None if end is None else float(end),
            text=as_text(values.get("text")),
            speaker=as_text(values.get("speaker")),
            group=as_text(values.get("group", values["path"])),
            category=as_text(values.get("category")),
            language=as_text(values.get("language")),
            split=self.rename_splits.get(split, split) or None,
            notes=notes,
        )


@takes_options(ManifestOptions)
def prepare_manifest(
    manifest: str | Path, out_folder: str | Path, **options: Any
) -> PreparedCorpus:
    """Turn the recordings of a manifest into shards.

    Splits are those of the field `split`; without it the corpus is divided by `split_by`,
    `train_share` and `valid_share`. A record without speaker ties no groups together.

    Arguments
    ---------
    manifest : str | Path
        JSON lines (.jsonl, .ndjson, .json) or a table with a header (.csv, .tsv).
    out_folder : str | Path
        Where the prepared corpus goes.
    **options : Any
        See `ManifestOptions`, `data_prepare.options.SplitOptions` and `CommonOptions`.

    Returns
    -------
    PreparedCorpus
        The splits.

    Raises
    ------
    FileNotFoundError
        If there is no manifest.
    ValueError
        If records are wrong (names the first 20 faults and their number), options are wrong,
        too much is rejected, or another preparation is in the way.
    """
    checked = make_options(ManifestOptions, options, where=_WHERE)
    path = Path(manifest).resolve()
    if not path.is_file():
        raise FileNotFoundError(f"{_WHERE}: no file {path}; expected a manifest; mend the path.")
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{_WHERE}: {path} ends with none of {', '.join(SUFFIXES)}; rename it.")
    source = ManifestSource(
        path, checked.columns, checked.where, checked.rename_splits, checked.keep
    )
    pieces, has_splits = _check_manifest(source)
    by = "corpus" if has_splits else checked.split_by
    return prepare_corpus(
        replace(source, pieces=pieces),
        Path(out_folder),
        name="manifest",
        options=checked,
        division=Division(by, checked.split_shares),
    )


@dataclass
class _Findings:
    """What the first pass over a manifest finds."""

    faults: list[str] = field(default_factory=list)
    num_faults: int = 0
    num_with_split: int = 0
    hashes: list[int] = field(default_factory=list)
    seen: Counter[tuple[str, str]] = field(default_factory=Counter)
    kept: set[str] = field(default_factory=set)

    def add(self, line: int, fault: str) -> None:
        self.num_faults += 1
        if len(self.faults) < _MAX_LISTED:
            self.faults.append(f"line {line}: {fault}")


def _check_manifest(source: ManifestSource) -> tuple[tuple[RecordsTask, ...], bool]:
    """Return the manifest's pieces and whether it gives splits, or tell all its faults."""
    findings = _Findings()
    pieces: list[RecordsTask] = []
    start, count = Record(1, 0, None), 0
    for record in read_records(source.path):
        if count == _RECORDS_PER_TASK:
            pieces.append(RecordsTask(f"line {start.line}", start.offset, start.line, count))
            count = 0
        start = record if count == 0 else start
        count += 1
        _check_record(source, record, findings)
    if count:
        pieces.append(RecordsTask(f"line {start.line}", start.offset, start.line, count))
    _check_repeats(source, findings)
    num_taken = len(findings.hashes)
    if 0 < findings.num_with_split < num_taken:
        lacking = num_taken - findings.num_with_split
        findings.add(1, f"{lacking} of {num_taken} records have no split; give it to all or none")
    for name in sorted(set(source.keep) - findings.kept) if num_taken else ():
        findings.add(1, f"no record has {name!r}, which keep names")
    if findings.num_faults:
        listing = "; ".join(findings.faults)
        raise ValueError(
            f"{_WHERE}: {source.path} has {findings.num_faults} fault(s), the first "
            f"{len(findings.faults)}: {listing}; expected records with {', '.join(_NEEDED)}; mend "
            "them, or map other names with columns."
        )
    if not num_taken:
        found = ", ".join(f"{name}={value!r}" for name, value in sorted(findings.seen))
        raise ValueError(
            f"{_WHERE}: no record of {source.path} matches where={source.where}; found {found}; "
            "correct where."
        )
    return tuple(pieces), findings.num_with_split > 0


def _check_record(source: ManifestSource, record: Record, findings: _Findings) -> None:
    if record.values is None:
        findings.add(record.line, record.fault)
        return
    if not Where(source.where).matches(record.values):
        if len(findings.seen) < _MAX_LISTED:
            findings.seen.update((n, as_text(record.values.get(n))) for n in source.where)
        return
    values = source.named(record.values)
    notes = source.notes(record.values)
    findings.kept |= notes.keys()
    for fault in value_faults(values, notes):
        findings.add(record.line, fault)
    findings.hashes.append(stable_hash(0, as_text(values.get("id", f"line {record.line}"))))
    findings.num_with_split += bool(as_text(values.get("split")))


def _check_repeats(source: ManifestSource, findings: _Findings) -> None:
    hashes, counts = np.unique(np.array(findings.hashes, dtype=np.uint64), return_counts=True)
    repeated = set(hashes[counts > 1].tolist())
    if not repeated:
        return
    lines: dict[str, int] = {}
    for record in read_records(source.path):
        if record.values is None or not Where(source.where).matches(record.values):
            continue
        identifier = as_text(source.named(record.values).get("id"))
        if stable_hash(0, identifier) not in repeated:
            continue
        if identifier in lines:
            findings.add(record.line, f"id {identifier!r} occurs in line {lines[identifier]} too")
        lines.setdefault(identifier, record.line)


if __name__ == "__main__":
    from data_prepare import manifest as module  # workers know this module by its full name

    sys.exit(run_command(module.prepare_manifest, sys.argv[1:]))
