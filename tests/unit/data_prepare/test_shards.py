import io
import tarfile

import pytest

from data_prepare.shards import ShardWriter, decode_pair, encode_pair, open_shard, shard_name


@pytest.mark.parametrize("num_bytes", [0, 1, 511, 512, 513, 2000])
def test_pair_written_reads_back(num_bytes):
    flac = bytes(range(256)) * 8
    pair = encode_pair("key-1", flac=flac[:num_bytes], meta={"text": "é “x”"})
    assert len(pair) % 512 == 0
    assert decode_pair(pair) == ("key-1", flac[:num_bytes], {"text": "é “x”"})


@pytest.mark.parametrize("num_bytes", [0, 1, 700, 99_999])
@pytest.mark.parametrize("key", ["k", "k" * 95, "d/" * 60 + "k", "ü-ö"])
def test_pair_equals_what_tarfile_writes(key, num_bytes):
    flac, text = b"f" * num_bytes, b'{"a": "\xc3\xa9"}'
    expected = b""
    for name, data in ((f"{key}.flac", flac), (f"{key}.json", text)):
        info = tarfile.TarInfo(name)
        info.size = len(data)
        expected += info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512)
    assert encode_pair(key, flac=flac, meta={"a": "é"}) == expected


def test_decode_pair_wrong_place_raises():
    pair = encode_pair("a", flac=b"x" * 600, meta={}) + encode_pair("b", flac=b"y", meta={})
    with pytest.raises(ValueError, match="no TAR header"):
        decode_pair(pair[512:])
    with pytest.raises(ValueError, match="same key"):
        decode_pair(pair)
    with pytest.raises(ValueError, match="shard"):
        decode_pair(pair[:1024])


@pytest.mark.parametrize("key", ["k" * 95, "ü-ö", "a/" * 20 + "b" * 90, "sp ace"])
def test_decode_pair_long_and_foreign_names_read_back(key):
    pair = encode_pair(key, flac=b"1", meta={})
    assert decode_pair(pair) == (key, b"1", {})


def test_decode_pair_headers_of_another_writer_read_back():
    members = []
    for name, data in (("k.flac", b"flac"), ("k.json", b"{}")):
        info = tarfile.TarInfo(name)
        info.size, info.mtime, info.mode, info.uname = len(data), 1_700_000_000, 0o600, "somebody"
        members.append(info.tobuf(tarfile.GNU_FORMAT) + data + bytes(512 - len(data)))
    assert decode_pair(b"".join(members)) == ("k", b"flac", {})


def test_decode_pair_changed_header_byte_raises():
    pair = encode_pair("key", flac=b"f" * 700, meta={"a": 1})
    checksums = {*range(148, 156), *range(1536 + 148, 1536 + 156)}
    for place in {*range(512), *range(1536, 2048)}:
        changed = bytearray(pair)
        changed[place] ^= 1
        if place in checksums and _decodes_as(pair, bytes(changed)):
            continue  # What stands after a checksum's digits means nothing.
        with pytest.raises(ValueError, match="shard"):
            decode_pair(bytes(changed))


def _decodes_as(pair: bytes, changed: bytes) -> bool:
    try:
        return decode_pair(changed) == decode_pair(pair)
    except ValueError:
        return False


def test_decode_pair_folder_or_link_for_a_file_raises():
    for kind in (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE):
        info = tarfile.TarInfo("k.flac")
        info.type, info.linkname = kind, "/etc/passwd"
        pair = info.tobuf(tarfile.USTAR_FORMAT) + encode_pair("k", flac=b"", meta={})[512:]
        with pytest.raises(ValueError, match="expected a whole file"):
            decode_pair(pair)


def test_decode_pair_two_keys_raises():
    first, second = (encode_pair(key, flac=b"", meta={}) for key in "ab")
    with pytest.raises(ValueError, match=r"'a\.flac' and 'b\.json'"):
        decode_pair(first[:512] + second[512:])


def test_open_shard_is_plain_tar_without_time_and_owner(tmp_path):
    path = tmp_path / shard_name(7)
    with open_shard(path) as writer:
        offsets = [writer.add(encode_pair(k, flac=b"1", meta={}), num_samples=5) for k in "ab"]
        entry = writer.finish(path.name)
    with tarfile.open(path, "r:") as tar:
        members = tar.getmembers()
    assert [member.name for member in members] == ["a.flac", "a.json", "b.flac", "b.json"]
    assert {(member.mtime, member.uid, member.gid) for member in members} == {(0, 0, 0)}
    assert [member.offset for member in members[::2]] == offsets
    assert (entry.name, entry.num_utterances, entry.num_samples) == ("shard-000007.tar", 2, 10)
    assert entry.num_bytes == path.stat().st_size


def test_shard_writer_empty_shard_is_a_tar():
    buffer = io.BytesIO()
    entry = ShardWriter(buffer).finish("shard-000000.tar")
    assert (entry.num_utterances, entry.num_bytes) == (0, 1024)
    with tarfile.open(fileobj=io.BytesIO(buffer.getvalue())) as tar:
        assert tar.getmembers() == []
