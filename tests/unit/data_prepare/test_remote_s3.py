"""Streaming from an S3 store (moto's server), directly and through a proxy with faults."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from data_prepare.storage import Read, RemoteOptions, StorageError, open_storage
from tests.unit.data_prepare.faulty_server import IMPATIENT, FaultyServer
from tests.unit.data_prepare.remote_cases import (
    ACCESS,
    NUM_UTTERANCES,
    SHARD,
    assert_all_came,
    corpus,
    make_loader,
    no_proxies,
)

pytest.importorskip("s3fs")
pytest.importorskip("moto.server")
__all__ = ["corpus", "no_proxies"]


@pytest.fixture(scope="module")
def port(corpus: Path) -> Iterator[int]:
    """Port of an S3 server whose bucket "speech" holds the corpus under "shards"."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, number = server.get_host_and_port()
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    client = boto3.client(
        "s3", endpoint_url=f"http://127.0.0.1:{number}", region_name="us-east-1", **keys
    )
    client.create_bucket(Bucket="speech")
    for path in (corpus / "train").iterdir():
        client.upload_file(str(path), "speech", f"shards/train/{path.name}")
    yield number
    server.stop()


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch, no_proxies: None) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


def load(endpoint: str, cache: Path, split: str = "train", **options):
    own = {"filesystem": {"endpoint_url": endpoint}}
    return make_loader(f"s3://speech/shards/{split}", cache, **own | options)


@pytest.mark.parametrize("access", ACCESS)
def test_loader_from_store(port, tmp_path, access):
    loader = load(f"http://127.0.0.1:{port}", tmp_path, access=access, check="full")
    assert_all_came(list(loader))
    assert loader.statistics.num_retries == 0
    assert loader.statistics.downloaded_bytes >= loader.index.utterances["num_bytes"].sum()


@pytest.mark.multiproc
def test_loader_worker_after_fork(port, tmp_path):
    with FaultyServer(port) as server:
        loader = load(server.address, tmp_path, access="ranges", num_workers=1)
        server.fail(SHARD, "reset", 503)
        assert_all_came(list(loader))
        assert loader.statistics.num_retries == 2
        assert loader.index.storage.read_many([Read(SHARD, 0, 10)])
        del loader


@pytest.mark.parametrize("access", ACCESS)
@pytest.mark.parametrize("fault", ["reset", "cut", "short_length", 503, 500])
def test_loader_faults_that_pass_are_retried(port, tmp_path, access, fault):
    with FaultyServer(port) as server:
        loader = load(server.address, tmp_path, access=access)
        server.fail(SHARD, fault, fault)
        assert_all_came(list(loader))
    assert loader.statistics.num_retries == 2


@pytest.mark.parametrize("fault", ["slow", "stall"])
def test_loader_answers_beyond_the_timeout_are_retried(port, tmp_path, fault):
    with FaultyServer(port) as server:
        loader = load(server.address, tmp_path, retry=IMPATIENT)
        server.fail(SHARD, fault)
        assert_all_came(list(loader))
    assert loader.statistics.num_retries >= 1


def test_loader_fault_that_stays_error_after_all_tries(port, tmp_path):
    with FaultyServer(port) as server:
        loader = load(server.address, tmp_path)
        server.fail(SHARD, *[503] * 100)
        with pytest.raises(StorageError, match=f"s3://speech/shards/train/{SHARD}.*4 tries"):
            list(loader)
        # Four for the batch, and up to four for those that are read ahead meanwhile.
        assert 4 <= server.num_requests()[SHARD] <= 8


@pytest.mark.parametrize("status", [404, 403])
def test_loader_shard_that_goes_error_at_once(port, tmp_path, status):
    with FaultyServer(port) as server:
        loader = load(server.address, tmp_path)
        server.fail(SHARD, *[status] * 100)
        with pytest.raises((StorageError, ValueError), match=f"{SHARD}.*after 1 tries"):
            list(loader)


def test_load_split_that_is_absent_error(port, tmp_path):
    with pytest.raises(FileNotFoundError, match="s3://speech/shards/other/index.json is missing"):
        load(f"http://127.0.0.1:{port}", tmp_path, "other")


def test_sizes_are_listed_once_and_asked_one_by_one_where_listing_is_forbidden(port, tmp_path):
    with FaultyServer(port) as server:
        options = RemoteOptions(cache_folder=tmp_path, filesystem={"endpoint_url": server.address})
        names = [SHARD, "absent.tar"]
        sizes = open_storage("s3://speech/shards/train", options=options).sizes(names)
        assert sizes["absent.tar"] is None
        assert len(server.requests) == 1
        server.fail("speech", *[403] * 9)
        again = open_storage("s3://speech/shards/train", options=options).sizes([SHARD])
    assert again[SHARD] == sizes[SHARD]
    assert sizes[SHARD] > 100 * NUM_UTTERANCES
