"""Reading utterances by their rows: what fits, and everything that may not."""

import json
import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_prepare.index import ShardIndex
from data_prepare.reading import ShardReader
from data_prepare.shards import encode_pair
from tests.unit.data_prepare.corpora import audio, write_split

SECONDS = [[0.3, 0.1, 0.2], [0.4, 0.15]]


@pytest.fixture
def split(tmp_path: Path) -> Path:
    return write_split(tmp_path / "train", SECONDS)


def read(split: Path, numbers: list[int], index: ShardIndex | None = None):
    index = index or ShardIndex.load(split)
    rows = index.utterances[numbers]
    out = np.full((len(rows), int(rows["num_samples"].max())), 7, dtype=np.int16)
    return ShardReader(index).read(rows, out=out), out


def damage(split: Path, number: int, *, at: int, data: bytes) -> None:
    """Overwrite bytes of an utterance; `at` counts from its first header."""
    index = ShardIndex.load(split)
    row = index.utterances[number]
    with index.shard_path(int(row["shard"])).open("r+b") as file:
        file.seek(int(row["offset"]) + at)
        file.write(data)


def test_read_rows_in_any_order_gives_their_audio_and_metas(split):
    found, out = read(split, [4, 0, 2])
    assert [meta["id"] for meta in found.metas] == ["utt-4", "utt-0", "utt-2"]
    assert found.num_samples == [2400, 4800, 3200]
    for place, (number, n) in enumerate(zip([4, 0, 2], found.num_samples, strict=True)):
        np.testing.assert_array_equal(out[place, :n], audio(number, n))
        assert not out[place, n:].any()


def test_read_neighbours_in_one_read_in_offset_order(split, monkeypatch):
    reads = []
    pread = os.pread

    def spy(fd: int, num_bytes: int, offset: int) -> bytes:
        reads.append((num_bytes, offset))
        return pread(fd, num_bytes, offset)

    monkeypatch.setattr(os, "pread", spy)
    found, _ = read(split, [2, 4, 1])
    rows = ShardIndex.load(split).utterances
    num_bytes = rows["num_bytes"].astype(int)
    offsets = rows["offset"].astype(int)
    assert reads == [(num_bytes[1] + num_bytes[2], offsets[1]), (num_bytes[4], offsets[4])]
    assert found.num_bytes == num_bytes[[1, 2, 4]].sum()


def test_read_damaged_header_fault_names_shard_and_offset(split):
    damage(split, 1, at=0, data=b"evil")
    found, out = read(split, [0, 1, 2])
    assert [meta["id"] for meta in found.metas] == ["utt-0", "utt-2"]
    (fault,) = found.faults
    assert fault.shard == "shard-000000.tar"
    assert f"offset {ShardIndex.load(split).utterances[1]['offset']}" in str(fault)
    np.testing.assert_array_equal(out[1, :3200], audio(2, 3200))


def test_read_undecodable_audio_fault_names_key(split):
    damage(split, 1, at=512 + 200, data=bytes(300))
    found, _ = read(split, [1, 0])
    assert found.faults[0].key == "utt-1"
    assert found.num_samples == [4800]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"num_samples": 4799}, "num_samples is 4799, the index says 4800"),
        ({"rate_hz": 8000}, "rate_hz is 8000, the index says 16000"),
        ({"category": "dirty"}, "category is 'dirty', the index says 'clean'"),
        ({"text": None}, "text is None; expected a text"),
        ({"notes": [1]}, "notes is [1]; expected an object"),
    ],
)
def test_read_meta_unlike_index_fault(tmp_path, change, reason):
    split = write_split(tmp_path / "train", [[0.3]], **change)
    found, _ = read(split, [0])
    assert (found.faults[0].key, found.faults[0].reason) == ("utt-0", reason)


def test_read_audio_unlike_index_fault(split):
    index = ShardIndex.load(split)
    found, _ = read(split, [0], index=replace(index, rate_hz=16000, categories=["clean", "x"]))
    assert not found.faults
    rows = index.utterances.copy()
    data = (split / "shard-000000.tar").read_bytes()[: int(rows[0]["num_bytes"])]
    longer = data.replace(b'"num_samples": 4800', b'"num_samples": 4801')
    damage(split, 0, at=0, data=longer)
    rows["num_samples"][0] = 4801
    found, _ = read(split, [0], index=replace(index, utterances=rows))
    assert "4800 samples; expected 16000 Hz, 1 channel, 4801 samples" in found.faults[0].reason


def test_read_meta_no_object_fault(split):
    index = ShardIndex.load(split)
    size = int(index.utterances[0]["num_bytes"])
    data = encode_pair("k", flac=b"", meta=["no object"])  # type: ignore[arg-type]
    data = encode_pair("k", flac=bytes(size - len(data)), meta=["no object"])  # type: ignore[arg-type]
    damage(split, 0, at=0, data=data)
    found, _ = read(split, [0])
    assert "holds a list" in found.faults[0].reason


def test_read_shard_cut_short_fault(split):
    index = ShardIndex.load(split)
    os.truncate(split / "shard-000001.tar", int(index.utterances[4]["offset"]) + 100)
    found, _ = read(split, [3, 4], index=index)
    assert [meta["id"] for meta in found.metas] == ["utt-3"]
    assert "ends after 100 of" in found.faults[0].reason


def test_read_shard_absent_fault_has_full_path(split):
    index = ShardIndex.load(split)
    (split / "shard-000001.tar").unlink()
    found, _ = read(split, [4, 0, 3], index=index)
    assert [meta["id"] for meta in found.metas] == ["utt-0"]
    assert {fault.kind for fault in found.faults} == {"missing_shard"}
    assert str(split / "shard-000001.tar") in found.faults[1].reason


@pytest.mark.parametrize(
    "name", ["../secret.tar", "/etc/passwd", "a/b.tar", "", "..", "a\0b", "pipe:touch x", "a\n"]
)
def test_reader_unsafe_shard_name_error(split, name):
    index = ShardIndex.load(split)
    shards = [replace(index.shards[0], name=name), index.shards[1]]
    with pytest.raises(ValueError, match="no plain file name"):
        ShardReader(replace(index, shards=shards))


def test_reader_pickle_member_is_never_opened(split):
    index = ShardIndex.load(split)
    row = index.utterances[0]
    shard = index.shard_path(0)
    data = shard.read_bytes().replace(b"utt-0.flac", b"utt-0.pyd\0")
    shard.write_bytes(data)
    found, _ = read(split, [0], index=index)
    assert len(found.faults) == 1
    assert found.faults[0].offset == int(row["offset"])


def test_reader_pickles_small_and_reads_on(split):
    index = ShardIndex.load(split)
    reader = ShardReader(index)
    out = np.zeros((1, 4800), np.int16)
    reader.read(index.utterances[[0]], out=out)
    data = pickle.dumps(reader)
    assert len(data) < 1000
    assert pickle.loads(data).read(index.utterances[[0]], out=out).metas[0]["id"] == "utt-0"


def test_reader_many_shards_few_open_files(tmp_path, monkeypatch):
    monkeypatch.setattr("data_prepare.storage.MAX_OPEN_FILES", 2)
    index = ShardIndex.load(write_split(tmp_path / "train", [[0.1]] * 5))
    reader = ShardReader(index)
    for number in (0, 1, 2, 3, 4, 0):
        found = reader.read(index.utterances[[number]], out=np.zeros((1, 1600), np.int16))
        assert json.dumps(found.metas[0]["id"]) == f'"utt-{number}"'
    assert len(reader.storage._files) == 2
