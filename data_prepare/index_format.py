"""Names, row type and checks of a split's index; see `data_prepare.index` for its use."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from data_prepare.files import canonical_json

if TYPE_CHECKING:
    from data_prepare.storage import Storage

FORMAT = "stampede-shards-1"
INDEX_NAME = "index.json"
ROWS_NAME = "utterances.npy"
TEXTS_NAME = "utterances.jsonl"
REMEDY = "expected the files as they were prepared; prepare the corpus again with overwrite."
_NEEDED = {
    "split",
    "rate_hz",
    "num_utterances",
    "num_samples",
    "categories",
    "shards",
    "files",
    "checksum",
}

# offset: of the FLAC member's TAR header. num_bytes: headers, data and padding of both members,
# so that one read at `offset` gives the pair.
ROW_DTYPE = np.dtype(
    [
        ("shard", "<u4"),
        ("offset", "<u8"),
        ("num_bytes", "<u4"),
        ("num_samples", "<u4"),
        ("category", "<u2"),
    ]
)


@dataclass(frozen=True, slots=True)
class ShardEntry:
    """Name, size and content counts of one shard."""

    name: str
    num_bytes: int
    sha256: str
    num_utterances: int
    num_samples: int


def index_checksum(content: dict[str, Any]) -> str:
    """Return the SHA-256 of an index.json's content without its own "checksum"."""
    rest = {name: value for name, value in content.items() if name != "checksum"}
    return hashlib.sha256(canonical_json(rest)).hexdigest()


def content_faults(content: Any) -> list[str]:
    """Return what is wrong with the content of an index.json."""
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        return [f"{INDEX_NAME}: format is {found!r}, not {FORMAT!r}"]
    missing = sorted(_NEEDED - content.keys())
    if missing:
        return [f"{INDEX_NAME}: lacks {', '.join(missing)}"]
    if content["checksum"] != index_checksum(content):
        return [f"{INDEX_NAME}: its checksum does not fit its content; it was changed or cut"]
    return []


def file_faults(
    storage: Storage, content: dict[str, Any], shards: list[ShardEntry], *, check: str
) -> list[str]:
    """Return which files of a split do not fit its index; `check` is "size" or "full"."""
    stamps = dict(content["files"])
    stamps |= {s.name: {"num_bytes": s.num_bytes, "sha256": s.sha256} for s in shards}
    faults = []
    sizes = storage.sizes(stamps)
    for name, stamp in stamps.items():
        num_bytes = sizes[name]
        if num_bytes is None:
            faults.append(f"{name}: missing")
        elif num_bytes != stamp["num_bytes"]:
            faults.append(f"{name}: {num_bytes} bytes, index says {stamp['num_bytes']}")
        elif check == "full" and storage.sha256(name) != stamp["sha256"]:
            faults.append(f"{name}: its SHA-256 differs from the index")
    return faults


def row_faults(
    rows: npt.NDArray[np.void], content: dict[str, Any], shards: list[ShardEntry], *, check: str
) -> list[str]:
    """Return what is wrong with the rows; all of them are looked at if `check` is "full"."""
    if rows.dtype != ROW_DTYPE or rows.shape != (content["num_utterances"],):
        return [f"{ROWS_NAME}: {rows.shape} of {rows.dtype}, not {content['num_utterances']} rows"]
    if check == "size" or not len(rows):
        return []
    faults = []
    counts = np.bincount(rows["shard"], minlength=len(shards))
    if counts.tolist() != [shard.num_utterances for shard in shards]:
        faults.append(f"{ROWS_NAME}: utterances per shard differ from {INDEX_NAME}")
    elif np.any(
        rows["offset"] + rows["num_bytes"] > np.array([s.num_bytes for s in shards])[rows["shard"]]
    ):
        faults.append(f"{ROWS_NAME}: an utterance lies beyond the end of its shard")
    if int(rows["num_samples"].sum(dtype=np.int64)) != content["num_samples"]:
        faults.append(f"{ROWS_NAME}: the sum of num_samples differs from {INDEX_NAME}")
    if int(rows["category"].max()) >= len(content["categories"]):
        faults.append(f"{ROWS_NAME}: a category has no name in {INDEX_NAME}")
    return faults


def fault_message(where: object, faults: list[str]) -> str:
    """Return the text of the error."""
    listing = "; ".join(faults[:20]) + (f"; and {len(faults) - 20} more" if faults[20:] else "")
    return f"index {where}: {len(faults)} fault(s): {listing}; {REMEDY}"
