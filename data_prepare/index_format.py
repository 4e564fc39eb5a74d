"""Names, row type and checks of a split's index; see `data_prepare.index` for its use."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from data_prepare.address import check_name
from data_prepare.files import canonical_json

if TYPE_CHECKING:
    from data_prepare.storage import Storage

FORMAT = "stampede-shards-1"
INDEX_NAME = "index.json"
ROWS_NAME = "utterances.npy"
TEXTS_NAME = "utterances.jsonl"
REMEDY = "expected the files as they were prepared; prepare the corpus again with overwrite."
# In a line of utterances.jsonl, in this order.
TEXT_NAMES = ("id", "key", "text", "speaker", "category", "language", "group")
# In a line of utterances.jsonl and in a JSON member, of an utterance that has any.
NOTES = "notes"
MAX_INDEX_BYTES = 1 << 28
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

# Threads that compute checksums; they wait for the disk or release the interpreter's lock.
_NUM_THREADS = 8

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


class ShardFault(NamedTuple):
    """Why a shard can not be used: "missing_shard" or "changed_shard", and what exactly."""

    kind: str
    reason: str


def index_checksum(content: dict[str, Any]) -> str:
    """Return the SHA-256 of an index.json's content without its own "checksum"."""
    rest = {name: value for name, value in content.items() if name != "checksum"}
    return hashlib.sha256(canonical_json(rest)).hexdigest()


def read_content(folder: Path) -> dict[str, Any]:
    """Return the content of a split's index.json.

    Arguments
    ---------
    folder : Path
        Of the split.

    Returns
    -------
    dict[str, Any]
        All of it checked.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If it is damaged.
    """
    path = folder / INDEX_NAME
    if not path.is_file():
        raise FileNotFoundError(
            f"index: {path} is missing; expected a prepared split; "
            "run the preparer again, it finishes what is left."
        )
    num_bytes = path.stat().st_size
    if num_bytes > MAX_INDEX_BYTES:
        raise ValueError(f"index {path}: {num_bytes} bytes, more than any index; {REMEDY}")
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"index {path}: not JSON ({error}); {REMEDY}") from error
    faults = content_faults(content)
    if faults:
        raise ValueError(fault_message(folder, faults))
    return content


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
    return [f"{INDEX_NAME}: {fault}" for fault in _structure_faults(content)]


def _structure_faults(content: dict[str, Any]) -> list[str]:
    """Return which values are not what the format says: an index may come from anywhere."""
    counts = ("rate_hz", "num_utterances", "num_samples")
    faults = [f"{name} is {content[name]!r}" for name in counts if not _is_count(content[name])]
    if not _is_name_list(content["categories"]) or not isinstance(content["split"], str):
        faults.append("split or categories are no names")
    files = content["files"]
    if not isinstance(files, dict) or set(files) != {ROWS_NAME, TEXTS_NAME}:
        return [*faults, f"files are not {ROWS_NAME} and {TEXTS_NAME}"]
    faults += [f"{name}: {stamp!r}"[:200] for name, stamp in files.items() if not _is_stamp(stamp)]
    shards = content["shards"]
    if not isinstance(shards, list):
        return [*faults, "shards are no list"]
    strange = [f"shard {shard!r}"[:200] for shard in shards if not _is_entry(shard)]
    if faults or strange:
        return [*faults, *strange]
    if len({shard["name"] for shard in shards}) < len(shards):
        faults.append("a shard is named twice")
    for name in ("num_utterances", "num_samples"):
        total = sum(shard[name] for shard in shards)
        if total != content[name]:
            faults.append(f"{name} is {content[name]}, that of its shards {total}")
    return faults


def _is_entry(shard: Any) -> bool:
    if not _is_stamp(shard) or shard.keys() != {field.name for field in fields(ShardEntry)}:
        return False
    try:
        check_name(str(shard["name"]), INDEX_NAME)
    except ValueError:
        return False
    return all(_is_count(shard[name]) for name in ("num_utterances", "num_samples"))


def _is_stamp(stamp: Any) -> bool:
    return (
        isinstance(stamp, dict)
        and _is_count(stamp.get("num_bytes"))
        and isinstance(stamp.get("sha256"), str)
    )


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_name_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def file_faults(
    storage: Storage, stamps: dict[str, dict[str, Any]], *, check: str
) -> dict[str, ShardFault]:
    """Return which files of a split do not fit their stamps of size and SHA-256.

    Arguments
    ---------
    storage : Storage
        Where they lie.
    stamps : dict[str, dict[str, Any]]
        "num_bytes" and "sha256" by file name.
    check : str
        "size" compares sizes, "full" checksums too, several files at a time.

    Returns
    -------
    dict[str, ShardFault]
        By file name, in the order of the stamps.
    """
    sizes = storage.sizes(stamps)
    faults = {}
    for name, stamp in stamps.items():
        if sizes[name] is None:
            faults[name] = ShardFault("missing_shard", "missing")
        elif sizes[name] != stamp["num_bytes"]:
            reason = f"{sizes[name]} bytes, index says {stamp['num_bytes']}"
            faults[name] = ShardFault("changed_shard", reason)
    if check == "full":
        whole = [name for name in stamps if name not in faults]
        with ThreadPoolExecutor(_NUM_THREADS) as pool:
            for name, sha256 in zip(whole, pool.map(storage.sha256, whole), strict=True):
                if sha256 != stamps[name]["sha256"]:
                    faults[name] = ShardFault("changed_shard", "its SHA-256 differs from the index")
    return {name: faults[name] for name in stamps if name in faults}


def load_rows(folder: Path) -> npt.NDArray[np.void]:
    """Return the rows of a split, memory-mapped.

    Arguments
    ---------
    folder : Path
        Of the split.

    Returns
    -------
    NDArray[np.void]
        To be checked by `row_faults`.

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    try:
        rows: npt.NDArray[np.void] = np.load(folder / ROWS_NAME, mmap_mode="r", allow_pickle=False)
    except OSError:
        raise
    except (
        Exception
    ) as error:  # reason: numpy parses the header as Python text; damage may raise any
        raise ValueError(f"index {folder}: {ROWS_NAME}: {error}; {REMEDY}") from error
    return rows


def row_faults(
    rows: npt.NDArray[np.void], content: dict[str, Any], shards: list[ShardEntry], *, check: str
) -> list[str]:
    """Return what is wrong with the rows; "size" leaves out what the reader finds out anyway."""
    if rows.dtype != ROW_DTYPE or rows.shape != (content["num_utterances"],):
        return [f"{ROWS_NAME}: {rows.shape} of {rows.dtype}, not {content['num_utterances']} rows"]
    if not len(rows):
        return []
    counts = [shard.num_utterances for shard in shards]
    if not np.array_equal(rows["shard"], np.repeat(np.arange(len(shards), dtype="<u4"), counts)):
        return [f"{ROWS_NAME}: utterances are not in the order of the shards"]
    faults = []
    if _lies_beyond(rows, shards):
        faults.append(f"{ROWS_NAME}: an utterance lies beyond the end of its shard")
    if int(rows["category"].max()) >= len(content["categories"]):
        faults.append(f"{ROWS_NAME}: a category has no name in {INDEX_NAME}")
    if check == "full" and int(rows["num_samples"].sum(dtype=np.int64)) != content["num_samples"]:
        faults.append(f"{ROWS_NAME}: the sum of num_samples differs from {INDEX_NAME}")
    return faults


def _lies_beyond(rows: npt.NDArray[np.void], shards: list[ShardEntry]) -> bool:
    """Tell whether an utterance ends after its shard; the rows are in the order of the shards."""
    filled = [shard for shard in shards if shard.num_utterances]
    firsts = np.cumsum([0, *(shard.num_utterances for shard in filled)])[:-1]
    if int(rows["offset"].max()) > max(shard.num_bytes for shard in filled):
        return True  # and no sum below can overflow
    ends = np.maximum.reduceat(rows["offset"] + rows["num_bytes"], firsts)
    return any(end > shard.num_bytes for end, shard in zip(ends.tolist(), filled, strict=True))


def text_line(text: dict[str, Any]) -> str:
    """Return an utterance's line of utterances.jsonl: the same bytes in whatever order it comes."""
    ordered = {name: text[name] for name in TEXT_NAMES if name in text}
    return json.dumps(ordered | text, ensure_ascii=False) + "\n"


def fault_message(where: object, faults: list[str]) -> str:
    """Return the text of the error."""
    listing = "; ".join(faults[:20]) + (f"; and {len(faults) - 20} more" if faults[20:] else "")
    return f"index {where}: {len(faults)} fault(s): {listing}; {REMEDY}"
