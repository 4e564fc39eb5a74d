"""The shard cache: bound, order of eviction, damage, several processes, kills."""

import contextlib
import errno
import hashlib
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from data_prepare.index_format import ShardEntry
from data_prepare.retry import DamagedError
from data_prepare.shard_cache import ShardCache, locked

NUM_BYTES = 1000
FORK = multiprocessing.get_context("fork")


def content(number: int) -> bytes:
    return bytes([number]) * NUM_BYTES


def entry(number: int) -> ShardEntry:
    digest = hashlib.sha256(content(number)).hexdigest()
    return ShardEntry(f"shard-{number:06d}.tar", NUM_BYTES, digest, 1, 1)


class Source:
    """Writes a shard's content into its file, and counts."""

    def __init__(self):
        self.fetched: list[int] = []

    def fetch(self, wanted: ShardEntry, path: Path) -> None:
        number = int(wanted.name[6:12])
        self.fetched.append(number)
        with path.open("r+b") as file:
            file.write(content(number))


def read(cache: ShardCache, source: Source, number: int) -> bytes:
    descriptor = cache.open(entry(number), source.fetch)
    assert descriptor is not None
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def in_cache(cache: ShardCache) -> set[str]:
    return {path.name for path in cache.folder.iterdir() if path.name != "room.lock"}


def names(*numbers: int) -> set[str]:
    return {f"{entry(number).sha256}.tar" for number in numbers}


@pytest.fixture
def cache(tmp_path: Path) -> ShardCache:
    return ShardCache(tmp_path / "cache", max_bytes=3 * NUM_BYTES + 10)


def test_open_downloads_once(cache):
    source = Source()
    assert [read(cache, source, number) for number in (1, 2, 1)] == [*map(content, (1, 2, 1))]
    assert source.fetched == [1, 2]
    assert in_cache(cache) == names(1, 2)


def test_open_beyond_the_bound_the_least_recently_used_goes(cache):
    source = Source()
    for number in (1, 2, 3, 1, 4):
        read(cache, source, number)
    assert in_cache(cache) == names(1, 3, 4)


def test_open_evicted_shard_stays_readable_for_its_reader(cache):
    source = Source()
    descriptor = cache.open(entry(1), source.fetch)
    for number in (2, 3, 4):
        read(cache, source, number)
    assert in_cache(cache) == names(2, 3, 4)
    with os.fdopen(descriptor, "rb") as file:
        assert file.read() == content(1)


def test_open_shard_larger_than_the_bound_error_names_both(tmp_path):
    cache = ShardCache(tmp_path, max_bytes=NUM_BYTES - 1)
    with pytest.raises(ValueError, match=r"shard-000001\.tar has 1000 bytes, cache_bytes is 999"):
        cache.open(entry(1), Source().fetch)


def test_open_other_files_in_the_folder_stay(cache):
    cache.folder.mkdir()
    (cache.folder / "notes.txt").write_bytes(bytes(9 * NUM_BYTES))
    for number in range(5):
        read(cache, Source(), number)
    assert (cache.folder / "notes.txt").is_file()


def test_open_wrong_bytes_error_and_nothing_is_kept(cache):
    def flip(wanted: ShardEntry, path: Path) -> None:
        path.write_bytes(bytes(NUM_BYTES))

    with pytest.raises(DamagedError, match="SHA-256"):
        cache.open(entry(1), flip)
    assert in_cache(cache) == set()


def test_open_failed_download_leaves_nothing(cache):
    def fail(wanted: ShardEntry, path: Path) -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        cache.open(entry(1), fail)
    assert in_cache(cache) == set()
    assert read(cache, Source(), 1) == content(1)


def test_open_full_disk_error_says_what_to_change(cache):
    def fail(wanted: ShardEntry, path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="disk is full while cache_bytes allows 3010") as caught:
        cache.open(entry(1), fail)
    assert caught.value.errno == errno.ENOSPC
    assert in_cache(cache) == set()


def test_open_cut_copy_is_downloaded_again(cache):
    source = Source()
    read(cache, source, 1)
    os.truncate(cache.path(entry(1)), 10)
    assert read(cache, source, 1) == content(1)
    assert source.fetched == [1, 1]


def test_drop_if_damaged_only_what_is(cache):
    source = Source()
    read(cache, source, 1)
    assert not cache.drop_if_damaged(entry(1))
    cache.path(entry(1)).write_bytes(bytes(NUM_BYTES))
    assert cache.drop_if_damaged(entry(1))
    assert not cache.drop_if_damaged(entry(1))
    assert read(cache, source, 1) == content(1)


def test_open_rest_of_a_killed_download_is_deleted(cache):
    cache.folder.mkdir()
    rest = cache.folder / "0000.part"
    rest.write_bytes(bytes(3 * NUM_BYTES))
    assert read(cache, Source(), 1) == content(1)
    assert in_cache(cache) == names(1)


def start_blocked(cache: ShardCache, number: int) -> tuple[threading.Thread, threading.Event]:
    """Begin a download in a thread, which goes on when the event is set."""
    begun, go_on = threading.Event(), threading.Event()

    def fetch(wanted: ShardEntry, path: Path) -> None:
        begun.set()
        assert go_on.wait(60)
        Source().fetch(wanted, path)

    def run() -> None:
        os.close(cache.open(entry(number), fetch) or 0)

    thread = threading.Thread(target=run)
    thread.start()
    assert begun.wait(60)
    return thread, go_on


def test_open_without_waiting_for_another_download(cache):
    thread, go_on = start_blocked(cache, 1)
    source = Source()
    assert cache.open(entry(1), source.fetch, wait=False) is None
    go_on.set()
    assert read(cache, source, 1) == content(1)
    thread.join()
    assert source.fetched == []


def test_open_download_under_way_has_its_room_reserved(cache):
    thread, go_on = start_blocked(cache, 1)
    for number in (2, 3, 4):
        read(cache, Source(), number)
    assert in_cache(cache) == names(3, 4) | {f"{entry(1).sha256}.part"}
    go_on.set()
    thread.join()
    assert in_cache(cache) == names(1, 3, 4)


def test_open_without_room_waits_for_another_download(tmp_path):
    cache = ShardCache(tmp_path / "cache", max_bytes=NUM_BYTES)
    thread, go_on = start_blocked(cache, 1)
    found: list[bytes] = []
    other = threading.Thread(target=lambda: found.append(read(cache, Source(), 2)))
    other.start()
    other.join(0.3)
    assert not found
    go_on.set()
    other.join()
    thread.join()
    assert found == [content(2)]
    assert in_cache(cache) == names(2)


def size_of(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):  # an empty part may go at any time
        return path.stat().st_size
    return 0


def use_cache(folder: Path, numbers: list[int], log: Path) -> None:
    """What a process of the following tests does: read shards, log downloads and the size."""
    cache, source = ShardCache(folder, max_bytes=4 * NUM_BYTES), Source()
    for number in numbers:
        assert read(cache, source, number) == content(number)
        with locked(folder / "room.lock"):
            assert sum(map(size_of, folder.iterdir())) <= 4 * NUM_BYTES
    log.write_text(" ".join(map(str, source.fetched)))


@pytest.mark.multiproc
def test_open_processes_share_one_cache(tmp_path):
    folder = tmp_path / "cache"
    jobs = [[n % 4 for n in range(start, start + 40)] for start in range(3)]
    logs = [tmp_path / f"log-{n}" for n in range(3)]
    processes = [
        FORK.Process(target=use_cache, args=(folder, job, log))
        for job, log in zip(jobs, logs, strict=True)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    fetched = [number for log in logs for number in log.read_text().split()]
    assert sorted(fetched) == ["0", "1", "2", "3"]


@pytest.mark.multiproc
def test_open_processes_with_too_little_room_all_get_right_bytes(tmp_path):
    folder = tmp_path / "cache"
    jobs = [[(n * step) % 7 for n in range(30)] for step in (1, 2, 3)]
    processes = [
        FORK.Process(target=use_cache, args=(folder, job, tmp_path / f"log-{n}"))
        for n, job in enumerate(jobs)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert not list(folder.glob("*.part"))


def hang_in_download(folder: Path, begun: Path) -> None:
    def fetch(wanted: ShardEntry, path: Path) -> None:
        with path.open("r+b") as file:
            file.write(bytes(NUM_BYTES // 2))
        begun.touch()
        time.sleep(600)

    ShardCache(folder, max_bytes=2 * NUM_BYTES).open(entry(1), fetch)


@pytest.mark.multiproc
@pytest.mark.parametrize("next_number", [1, 2])
def test_open_after_a_kill_in_mid_download(tmp_path, next_number):
    folder, begun = tmp_path / "cache", tmp_path / "begun"
    process = FORK.Process(target=hang_in_download, args=(folder, begun))
    process.start()
    while not begun.exists():
        assert process.is_alive()
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    cache = ShardCache(folder, max_bytes=2 * NUM_BYTES)
    assert in_cache(cache) == {f"{entry(1).sha256}.part"}
    source = Source()
    assert read(cache, source, next_number) == content(next_number)
    assert in_cache(cache) == names(next_number)
