"""Ways to damage a prepared split, for the tests of verify, repair and safety."""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from data_prepare.files import file_sha256, write_json
from data_prepare.index import INDEX_NAME, ROWS_NAME, TEXTS_NAME, ShardIndex, index_checksum


def overwrite(path: Path, at: int, data: bytes) -> None:
    """Put bytes into a file."""
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def offset_of(split: Path, number: int) -> int:
    """Place of an utterance in its shard."""
    return int(ShardIndex.load(split, tolerant=True).utterances["offset"][number])


def change_index(folder: Path, /, **changes: Any) -> None:
    """Change index.json and make its own checksum fit, as somebody with bad intent would."""
    path = folder / INDEX_NAME
    content = json.loads(path.read_text()) | changes
    content["checksum"] = index_checksum(content)
    write_json(path, content)


def accept_files(split: Path) -> None:
    """Make index.json agree with the files as they are now: only what they hold can be wrong."""
    content = json.loads((split / INDEX_NAME).read_text())
    shards = [shard | stamp(split / shard["name"]) for shard in content["shards"]]
    files = {name: stamp(split / name) for name in (ROWS_NAME, TEXTS_NAME)}
    change_index(split, shards=shards, files=files)


def stamp(path: Path) -> dict[str, Any]:
    """Size and SHA-256 of a file."""
    return {"num_bytes": path.stat().st_size, "sha256": file_sha256(path)}


def change_rows(split: Path, column: str, number: int, value: int) -> None:
    """Change a value of utterances.npy."""
    rows = np.load(split / ROWS_NAME)
    rows[column][number] = value
    np.save(split / ROWS_NAME, rows)


def member(name: str, data: bytes = b"", **fields: Any) -> bytes:
    """A TAR member with its padding; `fields` are those of its header."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    return info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512)


def insert_at_end(shard: Path, data: bytes) -> None:
    """Put members behind the last one of a shard."""
    content = shard.read_bytes()
    shard.write_bytes(content[:-1024] + data + content[-1024:])


def names_in(shard: Path) -> list[str]:
    """Names of the members of a shard."""
    with tarfile.open(fileobj=io.BytesIO(shard.read_bytes())) as archive:
        return archive.getnames()


def digest(folder: Path) -> dict[str, str]:
    """Checksums of all files below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
