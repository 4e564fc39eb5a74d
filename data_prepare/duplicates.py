"""Find keys that occur more than once in a whole corpus, from 64-bit hashes of all of them."""

from pathlib import Path

import numpy as np

from data_prepare.findings import MAX_LISTED, Finding, Findings
from data_prepare.shard_check import ShardReport
from data_prepare.shard_walk import key_at


class KeyRegister:
    """Collects the keys of all shards: 16 bytes an utterance."""

    def __init__(self) -> None:
        self._paths: list[Path] = []
        self._reports: list[ShardReport] = []

    def add(self, path: Path, report: ShardReport) -> None:
        """Take the keys of a shard."""
        self._paths.append(path)
        self._reports.append(report)

    def duplicates(self) -> Findings:
        """Return a finding for each occurrence of a key after its first."""
        findings = Findings()
        hashes = np.concatenate([np.zeros(0, np.uint64), *(r.key_hashes for r in self._reports)])
        order = np.argsort(hashes, kind="stable")
        is_twin = hashes[order[1:]] == hashes[order[:-1]]
        pairs = sorted(zip(order[1:][is_twin], order[:-1][is_twin], strict=True))
        for second, first in pairs:
            is_listed = findings.counts["duplicate_key"] < MAX_LISTED
            findings.add(self._finding(int(first), int(second), is_listed=is_listed))
        return findings

    def _finding(self, first: int, second: int, *, is_listed: bool) -> Finding:
        if not is_listed:
            return Finding("duplicate_key", "", "")
        path, offset = self._place(second)
        other, _ = self._place(first)
        with path.open("rb") as file:
            key = key_at(file, offset)
        detail = f"also in {other.parent.name}/{other.name}"
        return Finding("duplicate_key", f"{path.parent.name}/{path.name}", detail, key, offset)

    def _place(self, number: int) -> tuple[Path, int]:
        ends = np.cumsum([len(report.key_hashes) for report in self._reports])
        shard = int(np.searchsorted(ends, number, side="right"))
        report = self._reports[shard]
        return self._paths[shard], int(report.offsets[number - int(ends[shard])])
