"""What a loader counts: audio delivered, time waited, utterances it had to leave out."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from data_prepare.batch import SpeechBatch

logger = logging.getLogger(__name__)

MAX_LOGGED = 100


@dataclass
class LoaderStatistics:
    """What a loader has delivered since its last epoch began; padding batches do not count.

    Arguments
    ---------
    batches, utterances, padding_batches, faults : int
        Counts; faults are utterances left out.
    audio_s, padded_s : float
        Seconds of audio, without and with padding.
    wait_s : float
        Time the trainer waited for batches.
    num_bytes, bytes_needed : int
        Bytes read, and what the utterances take in the shards: between two that are read together
        small gaps are read too, at most 4 % in all.
    num_retries : int
        Requests to an object store or web server that were made again.
    downloaded_bytes : int
        Bytes that came from there.
    faults_by_kind : dict[str, int]
        The utterances left out, by kind: "missing_shard", "changed_shard" (by its size, or with
        check="full" its checksum), "entry" (what lies there is not what the index says) and
        "audio" (does not decode).
    """

    batches: int = 0
    utterances: int = 0
    padding_batches: int = 0
    faults: int = 0
    audio_s: float = 0.0
    padded_s: float = 0.0
    wait_s: float = 0.0
    num_bytes: int = 0
    bytes_needed: int = 0
    num_retries: int = 0
    downloaded_bytes: int = 0
    faults_by_kind: dict[str, int] = field(default_factory=dict)

    @property
    def padding_share(self) -> float:
        """Share of the delivered audio that is padding."""
        return 1 - self.audio_s / self.padded_s if self.padded_s else 0.0

    def add(self, batch: SpeechBatch, *, wait_s: float, rate_hz: int) -> None:
        """Count a batch."""
        self.wait_s += wait_s
        self.faults += len(batch.faults)
        for fault in batch.faults:
            self.faults_by_kind[fault.kind] = self.faults_by_kind.get(fault.kind, 0) + 1
        self.num_bytes += batch.num_bytes
        self.bytes_needed += batch.bytes_needed
        self.num_retries += batch.counts.num_retries
        self.downloaded_bytes += batch.counts.downloaded_bytes
        if batch.is_padding:
            self.padding_batches += 1
            return
        self.batches += 1
        self.utterances += len(batch)
        self.audio_s += batch.seconds
        self.padded_s += batch.wavs.data.numel() / rate_hz

    def summary(self) -> dict[str, Any]:
        """Return all figures, ready for JSON."""
        return asdict(self) | {"padding_share": self.padding_share}


class FaultBudget:
    """Counts the unusable utterances of a pass and stops a run that meets too many.

    Arguments
    ---------
    max_share : float
        Of a rank's part of a pass; 0 makes the first one an error.
    where : str
        Named in messages.
    find_key : Callable[[str, int], str] | None
        Returns the key of an utterance by its shard and offset, for the error.

    Raises
    ------
    ValueError
        If `max_share` is not in [0, 1).
    """

    def __init__(
        self,
        max_share: float,
        *,
        where: str,
        find_key: Callable[[str, int], str] | None = None,
    ):
        if not 0 <= max_share < 1:
            raise ValueError(f"loader: max_bad_share is {max_share}; expected [0, 1).")
        self.max_share = max_share
        self.where = where
        self.find_key = find_key
        self._place = (0, 0)
        self._count = 0
        self._skipped: Counter[str] = Counter()

    def anew(self) -> FaultBudget:
        """Return a budget of the same kind of which nothing is spent."""
        return FaultBudget(self.max_share, where=self.where, find_key=self.find_key)

    def spend(self, batch: SpeechBatch, *, num_utterances: float) -> None:
        """Count and log the faults of a batch.

        Arguments
        ---------
        batch : SpeechBatch
            From the loader.
        num_utterances : float
            Size of this rank's part of the pass.

        Raises
        ------
        ValueError
            If the pass has had too many.
        """
        # In a mixture, passes only follow each other, and positions tell no more than the pass.
        place = (batch.position.pass_number, getattr(batch.position, "num_utterances", 0))
        if place[0] != self._place[0] or place < self._place:
            self._count = 0  # another pass, or the same once more
        self._place = place
        self._count += len(batch.faults)
        if batch.faults and self._count > self.max_share * num_utterances:
            last = batch.faults[-1]
            if not last.key and self.find_key is not None:
                last = replace(last, key=self.find_key(last.shard, last.offset))
            raise ValueError(
                f"loader of {self.where}: {self._count} unusable utterance(s), the last: "
                f"{last}; expected at most max_bad_share = {self.max_share:g} of "
                f"{num_utterances:.0f}; prepare the corpus again, or raise max_bad_share."
            )
        self._log(batch)
        if batch.ends_epoch:
            self.end_epoch()

    def end_epoch(self) -> None:
        """Log what was skipped in the epoch, if anything was."""
        if self._skipped:
            logger.warning(
                "loader of %s: skipped in this epoch: %s", self.where, dict(self._skipped)
            )
            self._skipped.clear()

    def _log(self, batch: SpeechBatch) -> None:
        room = max(0, MAX_LOGGED - self._count + len(batch.faults))
        for fault in batch.faults[:room]:
            logger.warning("loader of %s: skipped %s", self.where, fault)
        if 0 < room <= len(batch.faults):
            logger.warning("loader of %s: further skips of this pass are only counted", self.where)
        self._skipped.update(fault.kind for fault in batch.faults)
