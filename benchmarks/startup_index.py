"""A split of millions of utterances that takes little disk: an index, and shards full of holes.

Every utterance has the length and the bytes of one of a few templates. Shards are sparse files of
full size; real pairs are written only where batches will be read (`fill`).
"""

import json
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prepare.audio import encode_flac
from data_prepare.files import write_json
from data_prepare.index import (
    INDEX_NAME,
    ROW_DTYPE,
    ROWS_NAME,
    TEXTS_NAME,
    ShardEntry,
    ShardIndex,
    index_checksum,
)
from data_prepare.index_format import FORMAT
from data_prepare.shards import encode_pair, shard_name

RATE_HZ = 16000
NUM_TEMPLATES = 64
MEAN_S, SHORTEST_S, LONGEST_S = 8.0, 1.0, 30.0
BYTES_PER_TEXT = 250
NO_SHA256 = "0" * 64


@cache
def make_templates() -> list[tuple[bytes, int]]:
    """Return pairs of members and their samples; lengths as quantiles of a lognormal law."""
    rng = np.random.default_rng(0)
    lengths_s = np.sort(np.exp(rng.normal(np.log(MEAN_S) - 0.18, 0.6, NUM_TEMPLATES)))
    lengths_s = np.clip(lengths_s, SHORTEST_S, LONGEST_S)
    return [_template(number, float(length_s)) for number, length_s in enumerate(lengths_s)]


def _template(number: int, length_s: float) -> tuple[bytes, int]:
    num_samples = round(length_s * RATE_HZ)
    noise = np.random.default_rng(number).normal(0, 300, num_samples).astype(np.int16)
    texts = ("id", "text", "speaker", "category", "language", "group")
    meta: dict[str, Any] = {name: f"{name} {number}" for name in texts} | {"category": "all"}
    meta |= {"num_samples": num_samples, "rate_hz": RATE_HZ}
    flac = encode_flac(noise, rate_hz=RATE_HZ)
    return encode_pair(f"template-{number}", flac=flac, meta=meta), num_samples


def write_big_index(folder: Path, *, num_utterances: int, num_shards: int) -> None:
    """Write the index files and the empty shards of a split."""
    folder.mkdir(parents=True)
    templates = make_templates()
    kinds = np.random.default_rng(1).integers(0, len(templates), num_utterances)
    rows = np.zeros(num_utterances, ROW_DTYPE)
    rows["num_bytes"] = np.array([len(pair) for pair, _ in templates])[kinds]
    rows["num_samples"] = np.array([samples for _, samples in templates])[kinds]
    bounds = np.linspace(0, num_utterances, num_shards + 1).astype(np.int64)
    shards = [_place(folder, rows[bounds[n] : bounds[n + 1]], n) for n in range(num_shards)]
    np.save(folder / ROWS_NAME, rows)
    (folder / TEXTS_NAME).touch()
    _grow(folder / TEXTS_NAME, BYTES_PER_TEXT * num_utterances)
    content: dict[str, Any] = {
        "format": FORMAT,
        "split": "train",
        "rate_hz": RATE_HZ,
        "num_utterances": num_utterances,
        "num_samples": int(rows["num_samples"].sum(dtype=np.int64)),
        "categories": ["all"],
        "shards": [asdict(shard) for shard in shards],
        "files": {
            name: {"num_bytes": (folder / name).stat().st_size, "sha256": NO_SHA256}
            for name in (ROWS_NAME, TEXTS_NAME)
        },
    }
    content["checksum"] = index_checksum(content)
    write_json(folder / INDEX_NAME, content)


def _place(folder: Path, rows: NDArray[np.void], number: int) -> ShardEntry:
    """Give the utterances of a shard their places; make its file."""
    ends = np.cumsum(rows["num_bytes"], dtype=np.uint64)
    rows["shard"], rows["offset"] = number, ends - rows["num_bytes"]
    num_bytes = int(ends[-1]) + 1024
    path = folder / shard_name(number)
    path.touch()
    _grow(path, num_bytes)
    num_samples = int(rows["num_samples"].sum(dtype=np.int64))
    return ShardEntry(path.name, num_bytes, NO_SHA256, len(rows), num_samples)


def _grow(path: Path, num_bytes: int) -> None:
    with path.open("rb+") as file:
        file.truncate(num_bytes)


def fill(index: ShardIndex, rows: NDArray[Any]) -> None:
    """Write real utterances at the places of some rows of the index."""
    pairs = {(len(pair), samples): pair for pair, samples in make_templates()}
    wanted = index.utterances[np.sort(rows)]
    for number in np.unique(wanted["shard"]):
        with index.shard_path(int(number)).open("rb+") as file:
            for row in wanted[wanted["shard"] == number]:
                file.seek(int(row["offset"]))
                file.write(pairs[int(row["num_bytes"]), int(row["num_samples"])])


def is_made(folder: Path, *, num_utterances: int) -> bool:
    """Tell whether the split is there."""
    path = folder / INDEX_NAME
    if not path.is_file():
        return False
    return bool(json.loads(path.read_text(encoding="utf-8"))["num_utterances"] == num_utterances)
