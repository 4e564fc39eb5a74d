"""What the tests of remote storage share: a corpus, loaders of it, what must come out."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data_prepare.batch import SpeechBatch
from data_prepare.storage import RemoteOptions
from data_prepare.stream import ShardLoader
from tests.unit.data_prepare.corpora import random_shards, write_split
from tests.unit.data_prepare.faulty_server import QUICK

NUM_UTTERANCES = 18
SHARD = "shard-000001.tar"
ACCESS = ("cache", "ranges")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a split "train" of three shards."""
    folder = tmp_path_factory.mktemp("corpus")
    write_split(folder / "train", random_shards(NUM_UTTERANCES, num_shards=3))
    return folder


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Reach the servers of this machine, whatever the machine's settings."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    yield


def make_loader(address: str, cache: Path, **options: Any) -> ShardLoader:
    """Return a loader; options of reading and of loading may be mixed."""
    own = {"cache_folder": cache, "retry": QUICK}
    names = RemoteOptions.__dataclass_fields__.keys() & options.keys()
    remote = RemoteOptions(**own | {name: options.pop(name) for name in names})
    return ShardLoader(address, max_batch_s=1.5, remote=remote, **options)


def assert_all_came(batches: list[SpeechBatch]) -> None:
    """Check that each utterance came once."""
    found = sorted(i for batch in batches for i in batch.id)
    assert found == sorted(f"utt-{number}" for number in range(NUM_UTTERANCES))
