import json

import numpy as np
import pytest

from data_prepare.index import INDEX_NAME, ShardIndex, ShardPart, write_index
from data_prepare.index_format import text_line
from data_prepare.shards import decode_pair, encode_pair, open_shard, shard_name


def write_split(folder, per_shard=(2, 0, 3)):
    """Write shards with keys k<shard>-<number> and their index."""
    parts = []
    for number, count in enumerate(per_shard):
        keys = [f"k{number}-{i}" for i in range(count)]
        rows = []
        with open_shard(folder / shard_name(number)) as writer:
            for i, key in enumerate(keys):
                pair = encode_pair(key, flac=b"f" * (600 * i), meta={"id": key})
                rows.append(
                    (writer.add(pair, num_samples=100 + i), len(pair), 100 + i, "ab"[i % 2])
                )
            entry = writer.finish(shard_name(number))
        parts.append(ShardPart(entry, rows, [{"id": key, "text": f"é {key}"} for key in keys]))
    write_index(
        folder,
        iter(parts),
        split="train",
        rate_hz=16000,
        categories=["a", "b"],
        num_utterances=sum(per_shard),
    )
    return folder


def test_index_written_loads_with_all_figures(tmp_path):
    index = ShardIndex.load(write_split(tmp_path), check="full")
    assert (index.split, index.rate_hz, index.num_utterances) == ("train", 16000, 5)
    assert index.num_samples == 100 + 101 + 100 + 101 + 102
    assert [shard.num_utterances for shard in index.shards] == [2, 0, 3]
    assert index.utterances["shard"].tolist() == [0, 0, 2, 2, 2]
    assert index.utterances["category"].tolist() == [0, 1, 0, 1, 0]
    assert [text["id"] for text in index.texts()] == ["k0-0", "k0-1", "k2-0", "k2-1", "k2-2"]


def test_index_texts_are_the_same_bytes_in_whatever_order_they_come():
    names = ("id", "key", "text", "speaker", "category", "language", "group")
    text = dict.fromkeys(names, "é")
    assert text_line(dict(sorted(text.items()))) == text_line(text)
    assert list(json.loads(text_line(text))) == list(names)


def test_index_row_one_read_gives_the_pair(tmp_path):
    index = ShardIndex.load(write_split(tmp_path))
    for row, text in zip(index.utterances, index.texts(), strict=True):
        data = index.shard_path(int(row["shard"])).read_bytes()
        pair = data[int(row["offset"]) : int(row["offset"]) + int(row["num_bytes"])]
        assert decode_pair(pair)[2]["id"] == text["id"]


def test_index_same_content_same_checksum(tmp_path):
    for name in ("one", "two", "other"):
        (tmp_path / name).mkdir()
    one, two = (ShardIndex.load(write_split(tmp_path / name)) for name in ("one", "two"))
    other = ShardIndex.load(write_split(tmp_path / "other", per_shard=(2, 3)))
    assert one.checksum == two.checksum != other.checksum


def test_load_unfinished_split_raises_file_not_found(tmp_path):
    with pytest.raises(FileNotFoundError, match=str(tmp_path / INDEX_NAME)):
        ShardIndex.load(tmp_path)


def test_load_several_faults_names_all(tmp_path):
    write_split(tmp_path)
    (tmp_path / shard_name(0)).write_bytes(b"short")
    (tmp_path / shard_name(1)).unlink()
    (tmp_path / "utterances.jsonl").unlink()
    with pytest.raises(ValueError, match="3 fault") as caught:
        ShardIndex.load(tmp_path)
    for name in ("shard-000000.tar: 5 bytes", "shard-000001.tar: missing", "utterances.jsonl"):
        assert name in str(caught.value)


def test_load_changed_byte_is_seen_by_full_check_only(tmp_path):
    path = write_split(tmp_path) / shard_name(2)
    data = bytearray(path.read_bytes())
    data[600] ^= 1
    path.write_bytes(data)
    assert ShardIndex.load(tmp_path).num_utterances == 5
    with pytest.raises(ValueError, match=r"shard-000002\.tar: its SHA-256"):
        ShardIndex.load(tmp_path, check="full")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "format is 'other'"),
        ({"num_samples": 1}, "checksum does not fit"),
        ({"shards": None}, "checksum does not fit"),
    ],
)
def test_load_damaged_index_raises(tmp_path, change, message):
    path = write_split(tmp_path) / INDEX_NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=message):
        ShardIndex.load(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": "stampede-shards-1"}'])
def test_load_broken_json_raises(tmp_path, text):
    (write_split(tmp_path) / INDEX_NAME).write_text(text)
    with pytest.raises(ValueError, match="index"):
        ShardIndex.load(tmp_path)


def test_index_rows_are_memory_mapped(tmp_path):
    assert isinstance(ShardIndex.load(write_split(tmp_path)).utterances, np.memmap)


def test_write_index_wrong_count_raises(tmp_path):
    with pytest.raises(RuntimeError, match="0 rows came for 2"):
        write_index(tmp_path, [], split="x", rate_hz=1, categories=[], num_utterances=2)
