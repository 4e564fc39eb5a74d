"""Addresses: what is taken and what is refused. Local storage. Optional packages."""

import os
import pickle
import sys
import threading
from pathlib import Path

import pytest

from data_prepare.address import RemoteAddress, check_name, is_remote, parse_address
from data_prepare.index import ShardIndex
from data_prepare.remote import RemoteStorage
from data_prepare.storage import LocalStorage, Read, RemoteOptions, open_storage
from data_prepare.stream import ShardLoader
from tests.unit.data_prepare.corpora import write_split


@pytest.mark.parametrize(
    ("address", "base", "query"),
    [
        ("s3://bucket/corpus/train", "s3://bucket/corpus/train", ""),
        ("s3://bucket/corpus/train/", "s3://bucket/corpus/train", ""),
        ("http://host:8080/a/b?token=x%20y", "http://host:8080/a/b", "token=x%20y"),
        ("https://host/a", "https://host/a", ""),
        ("gs://bucket", "gs://bucket", ""),
        ("abfs://container@account.dfs.core.windows.net/a", None, ""),
        ("hf://datasets/user/corpus@main/train", None, ""),
    ],
)
def test_parse_remote_address(address, base, query):
    place = parse_address(address)
    assert isinstance(place, RemoteAddress)
    assert (place.base, place.query) == (base or address, query)
    assert is_remote(address)


def test_remote_address_joins_names_before_the_query_and_hides_it():
    place = parse_address("http://host/a?token=secret").join("train")
    assert place.url("index.json") == "http://host/a/train/index.json?token=secret"
    assert "secret" not in str(place)


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("work/shards", "work/shards"),
        ("/data/../shards", "/data/../shards"),
        ("./a:b", "a:b"),
        ("file:///data/a%20b", "/data/a b"),
        ("file://localhost/data", "/data"),
        (Path("/data/x"), "/data/x"),
    ],
)
def test_parse_local_address(address, path):
    assert parse_address(address) == Path(path)
    assert not is_remote(address)


@pytest.mark.parametrize(
    "address",
    [
        "pipe:touch evil",
        "pipe:cat shard.tar |",
        "cat shard.tar|",
        "| touch evil",
        "shell:touch evil",
        "shell://touch evil",
        "ssh://host/folder",
        "sftp://host/folder",
        "github://user:repo@main/x",
        "local://x",
        "memory://x",
        "reference://x",
        "simplecache::s3://bucket/x",
        "zip://*.tar::http://host/x",
        "s3://bucket/x::http://host/y",
        "filecache::/etc",
        "s3:bucket/x",
        "s3:/bucket/x",
        "file:relative",
        "file://host/x",
        "http://",
        "s3:///key",
        "s3://bucket/../other",
        "http://host/a/%2e%2e/b",
        "http://user:password@host/x",
        "http://host/a#b",
        "s3://bucket/x?versionId=1",
        "a\0b",
        Path("s3://bucket/x"),
        Path("pipe:touch evil"),
    ],
)
def test_parse_refused_address_error_and_nothing_runs(address, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for use in (open_storage, ShardIndex.load, lambda a: ShardLoader(a, max_batch_s=1.0)):
        with pytest.raises(ValueError, match="address"):
            use(address)
    assert not list(tmp_path.iterdir())


def test_parse_refused_password_is_not_shown():
    with pytest.raises(ValueError, match="password") as caught:
        parse_address("http://user:geheim@host/x")
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/b", "", ".", "..", "a\0", "a\n", "-x"])
def test_check_name_that_leaves_its_folder_error(name, tmp_path):
    with pytest.raises(ValueError, match="no plain file name"):
        check_name(name, "here")
    for storage in (
        LocalStorage(tmp_path),
        RemoteStorage(parse_address("s3://b/x"), RemoteOptions()),
    ):
        with pytest.raises(ValueError, match="plain file name|no shard"):
            storage.fetch(name)


def test_open_storage_of_storage_is_itself(tmp_path):
    storage = open_storage(tmp_path)
    assert open_storage(storage) is storage
    assert str(storage) == str(tmp_path)


def test_local_reads_are_exact_up_to_the_end(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"0123456789")
    (tmp_path / "b.tar").write_bytes(b"abc")
    storage = LocalStorage(tmp_path)
    reads = [Read("a.tar", 2, 3), Read("a.tar", 8, 5), Read("b.tar", 0, 3), Read("b.tar", 9, 1)]
    assert storage.read_many(reads) == [b"234", b"89", b"abc", b""]
    assert storage.sizes(["a.tar", "none.tar"]) == {"a.tar": 10, "none.tar": None}
    assert not storage.heal("a.tar")


def test_local_short_reads_of_the_system_are_made_whole(tmp_path, monkeypatch):
    (tmp_path / "a.tar").write_bytes(bytes(range(100)))
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, offset: pread(fd, min(size, 7), offset))
    assert LocalStorage(tmp_path).read_many([Read("a.tar", 5, 90)]) == [bytes(range(5, 95))]


def test_local_threads_share_few_open_files(tmp_path, monkeypatch):
    monkeypatch.setattr("data_prepare.storage.MAX_OPEN_FILES", 2)
    for number in range(6):
        (tmp_path / f"{number}.tar").write_bytes(bytes([number]) * 1000)
    storage, wrong = LocalStorage(tmp_path), []

    def read(first):
        for step in range(300):
            number = (first + step) % 6
            if storage.read_many([Read(f"{number}.tar", 10, 20)]) != [bytes([number]) * 20]:
                wrong.append(number)

    threads = [threading.Thread(target=read, args=(first,)) for first in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(storage._files) <= 4


def test_loader_of_file_address_reads_it(tmp_path):
    split = write_split(tmp_path / "train", [[0.2, 0.3]])
    loader = ShardLoader(f"file://{split}", max_batch_s=1.0)
    assert sorted(i for batch in loader for i in batch.id) == ["utt-0", "utt-1"]


def test_remote_storage_pickles_small_without_connections():
    storage = open_storage("https://host/x?token=1", options=RemoteOptions(cache_folder="/c"))
    data = pickle.dumps(storage)
    assert len(data) < 1500
    assert pickle.loads(data).address == storage.address


@pytest.mark.parametrize("absent", ["fsspec", "fsspec.asyn", "aiohttp"])
def test_remote_without_extras_error_says_what_to_install(absent, monkeypatch, tmp_path):
    for name in [name for name in sys.modules if name.split(".")[0] == absent]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, absent, None)
    options = RemoteOptions(cache_folder=tmp_path, filesystem={"unlike": "others"})
    with pytest.raises(ImportError, match="pip install -r requirements-extras.txt"):
        ShardIndex.load("http://127.0.0.1:9/x", remote=options)


@pytest.mark.parametrize(
    "options", [{"cache_bytes": 0}, {"access": "stream"}, {"concurrent_requests": 0}]
)
def test_remote_options_out_of_range_error(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        RemoteOptions(**options)


def test_remote_options_default_cache_folder(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/scratch/me")
    assert RemoteOptions().cache_path() == Path("/scratch/me/stampede")
