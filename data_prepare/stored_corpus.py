"""A prepared corpus wherever it lies: in a folder, in an object store, on a web server."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prepare.address import check_name
from data_prepare.index import ShardIndex
from data_prepare.prepared import SUMMARY_NAME, PreparedCorpus
from data_prepare.remote import RemoteStorage
from data_prepare.storage import LocalStorage, RemoteOptions, Storage, open_storage

logger = logging.getLogger(__name__)
Split = str | Path | Storage


@dataclass(frozen=True)
class StoredCorpus:
    """A finished corpus that lies elsewhere.

    Arguments
    ---------
    folder : RemoteStorage
        Where it lies.
    splits : dict[str, RemoteStorage]
        Name of each split to its storage, for `data_prepare.index.ShardIndex.load` and loaders.
    """

    folder: RemoteStorage
    splits: dict[str, RemoteStorage]

    def split(self, name: str) -> RemoteStorage:
        """Return the storage of a split.

        Arguments
        ---------
        name : str
            Its name.

        Returns
        -------
        RemoteStorage
            Where its index and shards lie.

        Raises
        ------
        ValueError
            If there is no such split.
        """
        if name not in self.splits:
            raise ValueError(
                f"corpus {self.folder}: has no split {name!r}; expected one of "
                f"{sorted(self.splits)}; mend train_split, valid_split or test_splits."
            )
        return self.splits[name]


Corpus = PreparedCorpus | StoredCorpus


def open_corpus(address: str | Path, *, remote: RemoteOptions | None = None) -> Corpus:
    """Open a finished corpus; prepares nothing.

    Arguments
    ---------
    address : str | Path
        Its folder, or the address of that: "s3://bucket/corpus", "https://host/corpus".
    remote : RemoteOptions | None
        Cache, access and retries for an address.

    Returns
    -------
    PreparedCorpus | StoredCorpus
        Its splits, by `split(name)`.

    Raises
    ------
    FileNotFoundError
        If there is none, or its preparation or upload did not end.
    """
    storage = open_storage(address, options=remote)
    if isinstance(storage, LocalStorage):
        return PreparedCorpus.load(storage.folder)
    assert isinstance(storage, RemoteStorage)
    try:
        summary = storage.read_json(SUMMARY_NAME)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"corpus {storage}: has no {SUMMARY_NAME}; expected a prepared corpus, all of its "
            "files; see that the address is right and that its upload has ended."
        ) from error
    return StoredCorpus(storage, {name: storage.join(name) for name in _names(summary, storage)})


def check_corpus(address: str | Path, *, remote: RemoteOptions | None = None) -> None:
    """Check that a finished corpus is there, and the index files of its splits; prepares nothing.

    In place of a preparer in a corpus's YAML. The index files of an address are in the cache
    afterwards. Shards that are absent or changed are a warning: the loaders refuse them, or count
    them where they have a `max_bad_share`.

    Arguments
    ---------
    address : str | Path
        See `open_corpus`.
    remote : RemoteOptions | None
        See `open_corpus`.
    """
    corpus = open_corpus(address, remote=remote)
    for name, split in corpus.splits.items():
        index = ShardIndex.load_texts(split)
        logger.info("corpus %s: %s has %d utterances", address, name, index.num_utterances)


def _names(summary: Any, storage: Storage) -> list[str]:
    splits = summary.get("splits") if isinstance(summary, dict) else None
    if not isinstance(splits, dict) or any("folder" in figures for figures in splits.values()):
        raise ValueError(
            f"corpus {storage}: {SUMMARY_NAME} names no splits of its own; expected what preparers "
            "write; give the address of a prepared corpus (of a mixture, those of its parts)."
        )
    return [check_name(name, storage) for name in splits]
