"""Streaming from a web server that has faults: every utterance comes once, or an error says why."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from data_prepare.index import ShardIndex
from data_prepare.storage import Read, RemoteOptions, StorageError, open_storage
from data_prepare.stream import ShardLoader
from tests.unit.data_prepare.corpora import write_split
from tests.unit.data_prepare.faulty_server import IMPATIENT, QUICK, FaultyServer
from tests.unit.data_prepare.remote_cases import (
    ACCESS,
    NUM_UTTERANCES,
    SHARD,
    assert_all_came,
    corpus,
    make_loader,
    no_proxies,
)

pytest.importorskip("aiohttp")
__all__ = ["corpus", "no_proxies"]
PASSING = ["reset", "cut", "short_length", 503, 429]
SLOW = ["slow", "stall"]


@pytest.mark.parametrize("access", ACCESS)
def test_loader_without_faults_gives_what_the_folder_gives(corpus, tmp_path, access):
    with FaultyServer(corpus) as server:
        loader = make_loader(f"{server.address}/train", tmp_path, access=access)
        batches = list(loader)
        for batch, local in zip(
            batches, ShardLoader(corpus / "train", max_batch_s=1.5), strict=True
        ):
            assert batch.id == local.id
            assert torch.equal(batch.wavs.data, local.wavs.data)
    assert loader.statistics.num_retries == 0
    num_needed = int(loader.index.utterances["num_bytes"].sum())
    assert num_needed <= loader.statistics.downloaded_bytes < 1.2 * num_needed


@pytest.mark.parametrize("access", ACCESS)
@pytest.mark.parametrize("fault", PASSING)
def test_loader_faults_that_pass_are_retried(corpus, tmp_path, access, fault):
    with FaultyServer(corpus) as server:
        loader = make_loader(f"{server.address}/train", tmp_path, access=access)
        server.fail(SHARD, fault, fault)
        assert_all_came(list(loader))
    assert loader.statistics.num_retries == 2


@pytest.mark.parametrize("access", ACCESS)
@pytest.mark.parametrize("fault", SLOW)
def test_loader_answers_beyond_the_timeout_are_retried(corpus, tmp_path, access, fault):
    with FaultyServer(corpus) as server:
        address = f"{server.address}/train"
        loader = make_loader(address, tmp_path, access=access, retry=IMPATIENT)
        server.fail(SHARD, fault)
        assert_all_came(list(loader))
    assert loader.statistics.num_retries >= 1


@pytest.mark.multiproc
@pytest.mark.parametrize("access", ACCESS)
def test_loader_worker_reads_on_its_own_connections(corpus, tmp_path, access):
    with FaultyServer(corpus) as server:
        loader = make_loader(f"{server.address}/train", tmp_path, access=access, num_workers=1)
        server.fail(SHARD, "reset", 503)
        batches = list(loader)
        assert_all_came(batches)
        assert loader.statistics.num_retries == 2
        # The parent's connections still work, and a second epoch does.
        assert loader.index.storage.read_many([Read(SHARD, 0, 10)])
        assert_all_came(list(loader))
        del loader


@pytest.mark.parametrize("access", ACCESS)
@pytest.mark.parametrize("fault", ["reset", 503, "short_length"])
def test_loader_fault_that_stays_error_names_shard_and_tries(corpus, tmp_path, access, fault):
    with FaultyServer(corpus) as server:
        loader = make_loader(f"{server.address}/train", tmp_path, access=access)
        server.fail(SHARD, *[fault] * 100)
        with pytest.raises(StorageError, match=f"train/{SHARD}, bytes .* after 4 tries"):
            list(loader)


@pytest.mark.parametrize("access", ACCESS)
@pytest.mark.parametrize("status", [404, 403])
def test_loader_shard_that_goes_error_names_it_at_once(corpus, tmp_path, access, status):
    with FaultyServer(corpus) as server:
        loader = make_loader(f"{server.address}/train", tmp_path, access=access)
        server.fail(SHARD, *[status] * 100)
        with pytest.raises((StorageError, ValueError), match=f"{SHARD}.*after 1 tries"):
            list(loader)
        # Of each read one; requests for several may be under way.
        assert server.num_requests()[SHARD] <= 8


def test_loader_cached_shard_flipped_on_its_way_is_fetched_again(corpus, tmp_path):
    with FaultyServer(corpus) as server:
        loader = make_loader(f"{server.address}/train", tmp_path)
        server.fail(SHARD, "flip")
        assert_all_came(list(loader))
        assert server.num_requests()[SHARD] == 2


def test_loader_cached_shard_that_stays_flipped_error(corpus, tmp_path):
    with FaultyServer(corpus) as server:
        loader = make_loader(f"{server.address}/train", tmp_path)
        server.fail(SHARD, *["flip"] * 100)
        with pytest.raises((StorageError, ValueError), match=f"{SHARD}.*SHA-256.*twice"):
            list(loader)


def test_loader_copy_damaged_in_the_cache_is_replaced(corpus, tmp_path):
    with FaultyServer(corpus) as server:
        loader = make_loader(f"{server.address}/train", tmp_path)
        path = loader.index.shard_path(1)
        data = bytearray(path.read_bytes())
        data[:3000] = bytes(3000)
        path.write_bytes(data)
        assert_all_came(list(loader))
        assert server.num_requests()[SHARD] == 2


def test_loader_second_run_downloads_nothing(corpus, tmp_path):
    with FaultyServer(corpus) as server:
        for _ in range(2):
            assert_all_came(list(make_loader(f"{server.address}/train", tmp_path)))
        requests = server.num_requests()
    assert [requests[f"shard-{n:06d}.tar"] for n in range(3)] == [1, 1, 1]
    assert requests["utterances.jsonl"] == 1


def test_loader_cache_smaller_than_corpus_stays_in_its_bound(corpus, tmp_path):
    sizes = [path.stat().st_size for path in (corpus / "train").glob("*.tar")]
    bound = max(sizes) + 100
    with FaultyServer(corpus) as server:
        loader = make_loader(f"{server.address}/train", tmp_path, cache_bytes=bound)
        for batch in loader:
            assert batch.id
            kept = [path.stat().st_size for path in (tmp_path / "shards").glob("*.tar")]
            assert sum(kept) <= bound
    assert loader.statistics.utterances == NUM_UTTERANCES


def test_loader_shard_larger_than_the_cache_error(corpus, tmp_path):
    with FaultyServer(corpus) as server, pytest.raises(ValueError, match="cache_bytes is 1000"):
        make_loader(f"{server.address}/train", tmp_path, cache_bytes=1000)


def test_loader_server_without_ranges(corpus, tmp_path):
    with FaultyServer(corpus, has_ranges=False) as server:
        server.fail(SHARD, "cut", "reset", 503)
        loader = make_loader(f"{server.address}/train", tmp_path)
        assert_all_came(list(loader))
        other = make_loader(f"{server.address}/train", tmp_path / "b", access="ranges")
        with pytest.raises((StorageError, ValueError), match="ignores byte ranges"):
            list(other)


def test_loader_server_that_hides_sizes(corpus, tmp_path):
    with FaultyServer(corpus, has_ranges=False, says_length=False) as server:
        assert_all_came(list(make_loader(f"{server.address}/train", tmp_path)))
        # Without a length nothing but the index tells that an answer was cut.
        for path in (tmp_path / "shards").iterdir():
            path.unlink()
        loader = make_loader(f"{server.address}/train", tmp_path)
        server.fail(SHARD, "short_length")
        assert_all_came(list(loader))
        assert loader.statistics.num_retries == 1


def test_load_no_index_error_names_address(corpus, tmp_path):
    with FaultyServer(corpus) as server:
        address = f"{server.address}/absent"
        with pytest.raises(FileNotFoundError, match=f"{address}/index.json is missing"):
            make_loader(address, tmp_path)


def test_load_server_down_error_after_all_tries(tmp_path):
    with pytest.raises(StorageError, match="index.json: failed after 4 tries"):
        make_loader("http://127.0.0.1:9/train", tmp_path)


@pytest.mark.parametrize("name", ["index.json", "utterances.npy", "utterances.jsonl"])
def test_load_index_file_damaged_on_its_way_is_fetched_again(corpus, tmp_path, name):
    with FaultyServer(corpus) as server:
        server.fail(name, "short_length")
        assert_all_came(list(make_loader(f"{server.address}/train", tmp_path)))


def test_load_rows_damaged_in_the_cache_are_fetched_again(corpus, tmp_path):
    with FaultyServer(corpus) as server:
        index = make_loader(f"{server.address}/train", tmp_path).index
        path = index.folder / "utterances.npy"
        data = bytearray(path.read_bytes())
        data[-5] ^= 1
        path.write_bytes(data)
        again = make_loader(f"{server.address}/train", tmp_path).index
    np.testing.assert_array_equal(again.utterances, ShardIndex.load(corpus / "train").utterances)
    assert list(again.texts()) == list(ShardIndex.load(corpus / "train").texts())


def test_load_shard_absent_or_of_another_size_error_names_it(tmp_path):
    split = write_split(tmp_path / "train", [[0.1], [0.1], [0.1]])
    (split / "shard-000000.tar").unlink()
    os.truncate(split / "shard-000002.tar", 100)
    with FaultyServer(tmp_path) as server:
        server.fail("shard-000001.tar", 503, method="HEAD")
        with pytest.raises(ValueError, match="2 fault") as caught:
            make_loader(f"{server.address}/train", tmp_path / "cache")
    assert "shard-000000.tar: missing" in str(caught.value)
    assert "shard-000002.tar: 100 bytes" in str(caught.value)


def test_load_full_check_sees_a_changed_byte(tmp_path):
    split = write_split(tmp_path / "train", [[0.1], [0.1]])
    with FaultyServer(tmp_path) as server:
        make_loader(f"{server.address}/train", tmp_path / "cache", check="full")
        data = bytearray((split / "shard-000001.tar").read_bytes())
        data[600] ^= 1
        (split / "shard-000001.tar").write_bytes(data)
        with pytest.raises(ValueError, match=r"shard-000001\.tar: its SHA-256"):
            make_loader(f"{server.address}/train", tmp_path / "cache", check="full")


def test_read_many_keeps_order_and_refuses_beyond_the_end(corpus, tmp_path):
    shard = (corpus / "train" / SHARD).read_bytes()
    with FaultyServer(corpus) as server:
        for access in ACCESS:
            options = RemoteOptions(cache_folder=tmp_path, access=access, retry=QUICK)
            storage = ShardIndex.load(f"{server.address}/train", remote=options).storage
            reads = [Read(SHARD, 5, 7), Read(SHARD, 100, 0), Read(SHARD, 1000, 2000)]
            expected = [shard[5:12], b"", shard[1000:3000]]
            assert storage.read_many(reads) == expected
            assert pickle.loads(pickle.dumps(storage)).read_many(reads) == expected
            with pytest.raises(StorageError):
                storage.read_many([Read(SHARD, len(shard) - 5, 10)])


def test_query_of_the_address_comes_with_every_request(corpus, tmp_path):
    with FaultyServer(corpus) as server:
        address = f"{server.address}/train?token=geheim"
        storage = open_storage(address, options=RemoteOptions(cache_folder=tmp_path))
        assert "geheim" not in str(storage)
        assert_all_came(list(make_loader(address, tmp_path)))
        assert all("token=geheim" in path for path in server.paths)


def test_cache_folder_holds_no_rests(corpus, tmp_path):
    with FaultyServer(corpus) as server:
        server.fail(SHARD, "reset", "flip")
        server.fail("utterances.npy", "cut")
        assert_all_came(list(make_loader(f"{server.address}/train", tmp_path)))
    names = {path.name for path in Path(tmp_path).rglob("*") if path.is_file()}
    assert not [name for name in names if ".tmp-" in name or name.endswith(".part")]
