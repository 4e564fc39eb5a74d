"""What a check of prepared data finds: counted by kind, the first ones of each kind listed."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

MAX_LISTED = 20

KINDS = {
    "unfinished": "the preparation did not end",
    "index": "index.json is missing, damaged or contradicts itself",
    "index_file": "utterances.npy or utterances.jsonl does not fit index.json",
    "summary": "summary.json does not fit the indexes",
    "missing_shard": "a shard of the index is not there",
    "shard_size": "a shard has not the size that the index says",
    "shard_checksum": "a shard has not the SHA-256 that the index says",
    "unreadable": "a file can not be read",
    "shard_structure": "a shard is not a whole TAR file",
    "foreign_member": "a member that is no <key>.flac and no <key>.json",
    "unpaired_member": "a .flac without its .json right behind it, or the other way round",
    "member_json": "a .json does not hold what an utterance needs",
    "audio": "a .flac does not decode to the samples that its .json says",
    "row": "a row of utterances.npy does not fit the shard",
    "text": "a line of utterances.jsonl does not fit the shard",
    "duplicate_key": "a key occurs more than once",
    "foreign_file": "a file that no index names",
    "leftover": "a temporary file that a killed run left behind",
}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Arguments
    ---------
    kind : str
        One of `KINDS`.
    file : str
        Where: a path below the checked folder.
    detail : str
        What.
    key : str
        The utterance or member, "" if it is not about one.
    offset : int | None
        Place in the file.
    """

    kind: str
    file: str
    detail: str
    key: str = ""
    offset: int | None = None

    def __str__(self) -> str:
        place = f", offset {self.offset}" if self.offset is not None else ""
        key = f", {self.key}" if self.key else ""
        return f"{self.file}{place}{key}: {self.detail}"


@dataclass
class Findings:
    """Findings, all counted, at most `MAX_LISTED` of each kind kept.

    Arguments
    ---------
    counts : Counter
        Number by kind.
    listed : dict
        The first of each kind.
    """

    counts: Counter[str] = field(default_factory=Counter)
    listed: dict[str, list[Finding]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.counts)

    def add(self, finding: Finding) -> None:
        """Count a finding, and keep it if there is room."""
        self.counts[finding.kind] += 1
        listed = self.listed.setdefault(finding.kind, [])
        if len(listed) < MAX_LISTED:
            listed.append(finding)

    def add_all(self, kind: str, file: str, details: Iterable[str]) -> None:
        """Count findings of one kind in one file."""
        for detail in details:
            self.add(Finding(kind, file, detail))

    def merge(self, other: "Findings") -> None:
        """Count what another check found."""
        self.counts.update(other.counts)
        for kind, findings in other.listed.items():
            listed = self.listed.setdefault(kind, [])
            listed += findings[: MAX_LISTED - len(listed)]

    def as_json(self) -> dict[str, Any]:
        """Return counts and list: plain values."""
        return {
            "counts": {kind: self.counts[kind] for kind in KINDS if self.counts[kind]},
            "listed": [asdict(finding) for kind in KINDS for finding in self.listed.get(kind, [])],
        }

    def describe(self) -> str:
        """Return a text of several lines, "" if nothing was found."""
        lines = []
        for kind in [kind for kind in KINDS if self.counts[kind]]:
            lines.append(f"{self.counts[kind]} x {kind}: {KINDS[kind]}")
            listed = self.listed[kind]
            lines += [f"    {finding}" for finding in listed]
            if self.counts[kind] > len(listed):
                lines.append(f"    and {self.counts[kind] - len(listed)} more")
        return "\n".join(lines)
