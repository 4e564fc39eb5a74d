"""Make one shard: decode, convert, encode, write. A pure function of plan and shard number.

Recordings are opened one after the other and read forward; the encoded utterances wait in a
spool (in memory, beyond 64 MiB on disk) until they are written in the shard's own order.
Beside each finished shard stands a receipt in the work folder: its checksum, its rows for the
index and what was rejected. A shard with a receipt that fits is not made again.
"""

import json
import platform
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import soundfile
import soxr

from data_prepare.audio import AudioError, Recording, encode_flac
from data_prepare.files import atomic_path, canonical_json
from data_prepare.filters import Rejection
from data_prepare.index import ShardEntry, ShardPart
from data_prepare.index_format import NOTES
from data_prepare.shard_plan import ShardPlan
from data_prepare.shards import encode_pair, open_shard, shard_name
from data_prepare.shared_folder import wait_for
from data_prepare.utterance import Utterance

_SPOOL_BYTES = 64 << 20
_MAX_MISSING_S = 0.1


@dataclass(frozen=True, slots=True)
class ShardJob:
    """Which shard to make, and where.

    Arguments
    ---------
    plan_folder : Path
        Folder of the plan.
    receipts : Path
        Folder of the receipts.
    out_folder : Path
        Folder of the prepared corpus.
    split : str
        The shard's split.
    number : int
        Its number in the split.
    """

    plan_folder: Path
    receipts: Path
    out_folder: Path
    split: str
    number: int

    @property
    def shard_path(self) -> Path:
        """Where the shard goes."""
        return self.out_folder / self.split / shard_name(self.number)

    @property
    def receipt_path(self) -> Path:
        """Where the receipt goes."""
        return self.receipts / self.split / f"{self.shard_path.stem}.jsonl"

    def __str__(self) -> str:
        return str(self.shard_path)

    def is_done(self) -> bool:
        """Tell whether the shard is there, whole, with its receipt."""
        try:
            with self.receipt_path.open(encoding="utf-8") as file:
                entry = json.loads(file.readline())
            return bool(entry["num_bytes"] == self.shard_path.stat().st_size)
        except FileNotFoundError:
            return False


@dataclass(frozen=True)
class Receipt:
    """What a finished shard holds.

    Arguments
    ---------
    part : ShardPart
        Its contribution to the index.
    rejected : list[Rejection]
        Utterances of the plan whose audio could not be read.
    """

    part: ShardPart
    rejected: list[Rejection]

    @classmethod
    def load(cls, job: ShardJob) -> "Receipt":
        """Read the receipt of a finished shard."""
        with job.receipt_path.open(encoding="utf-8") as file:
            entry, content = map(json.loads, file)
        rows = [(row[0], row[1], row[2], row[3]) for row in content["rows"]]
        part = ShardPart(ShardEntry(**entry), rows, content["texts"])
        return cls(part, [Rejection(**line) for line in content["rejected"]])


def make_shard(job: ShardJob) -> ShardJob:
    """Make a shard and its receipt, unless they are there.

    Several processes may make the same shard at the same time: each writes the same bytes under
    a temporary name of its own and renames them.

    Arguments
    ---------
    job : ShardJob
        Plan and number.

    Returns
    -------
    ShardJob
        The same.

    Raises
    ------
    FileNotFoundError
        If there is no plan.
    RuntimeError
        If the plan was made with other libraries, or is replaced meanwhile.
    """
    plan = wait_for(lambda: ShardPlan.load(job.plan_folder), folder=job.plan_folder)
    if plan is None:
        raise FileNotFoundError(
            f"prepare: no plan in {job.plan_folder}; expected a folder that all nodes share; run "
            "the preparer again."
        )
    _check_tools(plan)
    if job.is_done():
        return job
    utterances = plan.utterances(job.split, job.number)
    rows: list[tuple[int, int, int, str]] = []
    texts: list[dict[str, Any]] = []
    with (
        tempfile.SpooledTemporaryFile(_SPOOL_BYTES, dir=str(job.shard_path.parent)) as spool,
        open_shard(job.shard_path) as writer,
    ):
        kept, rejected = _fill_spool(spool, utterances, plan)
        for position in sorted(kept):
            utterance, (offset, num_bytes, num_samples) = utterances[position], kept[position]
            spool.seek(offset)
            place = writer.add(spool.read(num_bytes), num_samples=num_samples)
            rows.append((place, num_bytes, num_samples, utterance.category))
            texts.append(_names_and_text(utterance))
        entry = writer.finish(shard_name(job.number))
        _check_same_plan(plan)
    receipt = {
        "rows": rows,
        "texts": texts,
        "rejected": [asdict(rejected[position]) for position in sorted(rejected)],
    }
    lines = [canonical_json(line) + b"\n" for line in (asdict(entry), receipt)]
    with atomic_path(job.receipt_path) as path:
        path.write_bytes(b"".join(lines))
    return job


def tools() -> dict[str, str]:
    """Return the versions of the libraries that decide the bytes of a shard."""
    return {
        "libsndfile": soundfile.__libsndfile_version__,
        "soxr": soxr.__version__,
        "numpy": np.__version__,
    }


def _check_tools(plan: ShardPlan) -> None:
    planned, here = plan.content["tools"], tools()
    if planned != here:
        raise RuntimeError(
            f"prepare: {platform.node()} has {here}, the plan was made with {planned}; expected "
            "the same, as shards shall not depend on where they are made; use one environment "
            "everywhere, or start over with overwrite."
        )


def _check_same_plan(plan: ShardPlan) -> None:
    """Keep what was under way for a plan that is gone from replacing shards of the next one."""
    now = ShardPlan.load(plan.folder)
    if now is None or now.content != plan.content:
        raise RuntimeError(
            f"prepare: the plan in {plan.folder} was replaced or deleted while a shard was made; "
            "expected one preparation at a time; run the preparer again."
        )


def _fill_spool(
    spool: IO[bytes], utterances: Sequence[Utterance], plan: ShardPlan
) -> tuple[dict[int, tuple[int, int, int]], dict[int, Rejection]]:
    """Encode all utterances into the spool.

    Returns (offset, bytes, samples) of those that could be read and why the others could not,
    both by position in the shard.
    """
    kept: dict[int, tuple[int, int, int]] = {}
    rejected: dict[int, Rejection] = {}
    offset = 0
    for position, samples in _decode(utterances, plan):
        utterance = utterances[position]
        if isinstance(samples, Rejection):
            rejected[position] = samples
            continue
        pair = encode_pair(
            utterance.key,
            flac=encode_flac(samples, rate_hz=plan.rate_hz),
            meta=_member_content(utterance, len(samples), plan.rate_hz),
        )
        spool.write(pair)
        kept[position] = (offset, len(pair), len(samples))
        offset += len(pair)
    return kept, rejected


def _decode(utterances: Sequence[Utterance], plan: ShardPlan) -> Iterator[tuple[int, Any]]:
    """Yield (position, samples or rejection), one recording after the other, in time order."""
    order = sorted(
        range(len(utterances)),
        key=lambda position: (utterances[position].recording, utterances[position].start_s),
    )
    with closing(_OneOpen(plan.root)) as recordings:
        for position in order:
            yield position, recordings.read(utterances[position], rate_hz=plan.rate_hz)


class _OneOpen:
    """Keeps the last used recording open."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._name = ""
        self._recording: Recording | None = None

    def read(self, utterance: Utterance, *, rate_hz: int) -> Any:
        assert utterance.end_s is not None, "readers fill in the end"
        try:
            recording = self._open(utterance.recording)
            samples = recording.read(
                start_s=utterance.start_s, end_s=utterance.end_s, rate_hz=rate_hz
            )
        except AudioError as error:
            self.close()  # a decoder that failed once fails ever after
            return Rejection(utterance.id, "undecodable", str(error))
        wanted = round(utterance.end_s * rate_hz) - round(utterance.start_s * rate_hz)
        if not len(samples) or len(samples) < wanted - _MAX_MISSING_S * rate_hz:
            detail = (
                f"{utterance.recording}: {len(samples)} of {wanted} samples from "
                f"{utterance.start_s:.3f} s on; its header promises more than it holds"
            )
            return Rejection(utterance.id, "truncated_recording", detail)
        return samples

    def close(self) -> None:
        if self._recording is not None:
            self._recording.close()
        self._recording = None

    def _open(self, name: str) -> Recording:
        if self._recording is None or name != self._name:
            self.close()
            self._recording = Recording(self._root / name)
            self._name = name
        return self._recording


def _names_and_text(utterance: Utterance) -> dict[str, Any]:
    names = ("id", "key", "text", "speaker", "category", "language", "group")
    return {name: getattr(utterance, name) for name in names} | _notes(utterance)


def _member_content(utterance: Utterance, num_samples: int, rate_hz: int) -> dict[str, Any]:
    names = ("id", "text", "speaker", "category", "language", "group")
    return {name: getattr(utterance, name) for name in names} | {
        "num_samples": num_samples,
        "rate_hz": rate_hz,
        "source": utterance.recording,
        "start_s": utterance.start_s,
        "end_s": utterance.end_s,
        **_notes(utterance),
    }


def _notes(utterance: Utterance) -> dict[str, Any]:
    return {NOTES: dict(utterance.notes)} if utterance.notes else {}
