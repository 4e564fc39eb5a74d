"""Options of reading from an object store or web server."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from data_prepare.retry import RetryOptions


@dataclass(frozen=True)
class RemoteOptions:
    """How files are read that do not lie on a local or network file system.

    Arguments
    ---------
    cache_folder : str | Path | None
        Folder on a disk of this machine for index files and shards. Runs and processes share it.
        By default `stampede` in $XDG_CACHE_HOME or ~/.cache.
    cache_bytes : int
        Bound of all shards in the cache together; the least recently used go first. Leave room
        for the shards of a window (`window_shards`) at least.
    access : Literal["cache", "ranges"]
        "cache" downloads whole shards, once as long as they stay in the cache, and compares their
        checksums. "ranges" asks for the bytes that a batch needs and keeps nothing: for jobs on
        many nodes, of which each needs little of a shard.
    concurrent_requests : int
        Requests of a process that are under way at once.
    retry : RetryOptions
        How faults that may pass are retried.
    filesystem : dict[str, Any]
        Further arguments of the fsspec file system, such as {endpoint_url: ..., anon: True}.
        Keys and passwords belong into the environment.

    Raises
    ------
    ValueError
        If a value is out of range.
    """

    cache_folder: str | Path | None = None
    cache_bytes: int = 50_000_000_000
    access: Literal["cache", "ranges"] = "cache"
    concurrent_requests: int = 4
    retry: RetryOptions = field(default_factory=RetryOptions)
    filesystem: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        faults = []
        if self.access not in ("cache", "ranges"):
            faults.append(f"access is {self.access!r}; expected 'cache' or 'ranges'")
        faults += [
            f"{name} is {getattr(self, name)}; expected >= 1"
            for name in ("cache_bytes", "concurrent_requests")
            if getattr(self, name) < 1
        ]
        if faults:
            raise ValueError("storage: " + "; ".join(faults) + ".")

    def cache_path(self) -> Path:
        """Return the cache's folder."""
        if self.cache_folder is not None:
            return Path(self.cache_folder).expanduser()
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return Path(home) / "stampede"
