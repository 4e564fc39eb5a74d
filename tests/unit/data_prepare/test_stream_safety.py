"""Prepared data may come from anywhere: nothing in it is executed, nothing outside it is opened."""

import builtins
import io
import json
import os
import pickle
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data_prepare.index import INDEX_NAME, ROWS_NAME, ShardIndex
from data_prepare.index_format import MAX_INDEX_BYTES
from data_prepare.shards import encode_pair
from data_prepare.storage import open_storage
from data_prepare.stream import ShardLoader
from data_prepare.verify import verify_corpus
from tests.unit.data_prepare.corpora import write_split
from tests.unit.data_prepare.damage import (
    accept_files,
    change_index,
    change_rows,
    insert_at_end,
    member,
    overwrite,
)

SHARD = "shard-000000.tar"
NUM_UTTERANCES = 4


class Touch:
    """A pickle of this makes a file when it is opened."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.path),))


@pytest.fixture
def split(tmp_path: Path) -> Path:
    return write_split(tmp_path / "corpus" / "train", [[0.3] * NUM_UTTERANCES])


@pytest.fixture
def bait(tmp_path: Path) -> Path:
    """What evil data would make."""
    return tmp_path / "bait"


@pytest.fixture(autouse=True)
def _no_way_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Make pickles, commands, and opening files outside the test's corpus errors."""

    def refuse(*args: Any, **_: Any) -> None:
        raise AssertionError(f"called with {args!r:.200}")

    for module, names in (
        (pickle, ("load", "loads", "Unpickler")),
        (torch, ("load",)),
        (os, ("system", "popen", "posix_spawn")),
        (subprocess, ("Popen", "run", "call")),
    ):
        for name in names:
            monkeypatch.setattr(module, name, refuse)
    secret = tmp_path / "secret.tar"
    secret.write_bytes(b"secret")
    for module, name in ((builtins, "open"), (io, "open"), (os, "open")):
        monkeypatch.setattr(module, name, _only_inside(getattr(module, name), secret))


def _only_inside(real: Any, secret: Path) -> Any:
    def checked(file: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(file, int):
            path = os.path.realpath(os.fspath(file))
            assert path not in (str(secret), "/etc/passwd"), f"opened {file}"
        return real(file, *args, **kwargs)

    return checked


def load_all(split: Path, **options: Any) -> ShardLoader:
    """Read a whole pass; most utterances may be unusable."""
    loader = ShardLoader(split, max_batch_s=1.0, **{"max_bad_share": 0.9, **options})
    list(loader)
    return loader


@pytest.mark.parametrize("suffix", ["pyd", "pth", "pickle", "pkl", "npy", "flac"])
def test_pickle_member_is_data_or_refused(split, bait, suffix):
    data = pickle.dumps(Touch(bait))
    pair = encode_pair("utt-0", flac=data, meta={})
    shard = split / SHARD
    pair = pair.replace(b"utt-0.flac", f"utt-0.{suffix}".encode().ljust(10, b"\0"), 1)
    num_bytes = int(ShardIndex.load(split).utterances["num_bytes"][0])
    overwrite(shard, 0, pair[:num_bytes])
    accept_files(split)
    assert load_all(split).statistics.faults == 1
    insert_at_end(shard, member(f"utt-9.{suffix}", data) + member("utt-9.json", b"{}"))
    accept_files(split)
    assert load_all(split).statistics.faults == 1
    assert verify_corpus(split).findings
    assert not bait.exists()


def test_index_rows_with_pickled_objects_refused(split, bait):
    with (split / ROWS_NAME).open("wb") as file:
        np.save(file, np.array([Touch(bait)] * NUM_UTTERANCES, dtype=object), allow_pickle=True)
    accept_files(split)
    with pytest.raises(ValueError, match="Python objects"):
        load_all(split)
    assert verify_corpus(split).findings.counts["index_file"]
    assert not bait.exists()


@pytest.mark.parametrize(
    "name",
    [
        *("pipe:mkdir bait", "pipe:cat /etc/passwd", "|mkdir bait", "file:///etc/passwd"),
        *("../../secret.tar", "/etc/passwd", "a/../../../secret.tar", "sub/x.tar", "..", "", "~"),
        *("shard-000000.tar\0", "shard-000000.tar\n", "s3://bucket/x.tar", "http://host/x.tar"),
    ],
)
@pytest.mark.parametrize("check", ["size", "full"])
def test_index_naming_shard_that_is_no_plain_name_refused(split, name, check, monkeypatch):
    monkeypatch.chdir(split.parent.parent)
    content = json.loads((split / INDEX_NAME).read_text())
    change_index(split, shards=[content["shards"][0] | {"name": name}])
    with pytest.raises(ValueError, match="shard"):
        load_all(split, check=check)
    assert verify_corpus(split).findings.counts["index"] == 1
    assert not Path("bait").exists()


def test_index_naming_other_index_files_refused(split):
    stamp = {"num_bytes": 6, "sha256": "x"}
    files = json.loads((split / INDEX_NAME).read_text())["files"]
    change_index(split, files=files | {"../../secret.tar": stamp})
    with pytest.raises(ValueError, match="files are not"):
        load_all(split)


@pytest.mark.parametrize(
    "changes",
    [
        {"rate_hz": "16000"},
        {"rate_hz": True},
        {"num_utterances": 10**30},
        {"num_samples": -1},
        {"categories": {"clean": 0}},
        {"shards": {}},
        {"shards": [[]]},
        {"shards": [{"name": "x"}]},
        {"files": []},
        {"split": None},
    ],
)
def test_index_with_values_of_other_kinds_refused(split, changes):
    change_index(split, **changes)
    with pytest.raises(ValueError, match="index"):
        load_all(split)


def test_index_shard_named_twice_refused(split):
    content = json.loads((split / INDEX_NAME).read_text())
    totals = {name: 2 * content[name] for name in ("num_utterances", "num_samples")}
    change_index(split, shards=content["shards"] * 2, **totals)
    with pytest.raises(ValueError, match="named twice"):
        load_all(split)


@pytest.mark.parametrize("address", ["pipe:mkdir bait", "ssh://host/x", "a::b", "shell:ls"])
def test_address_that_is_a_command_refused(address):
    with pytest.raises(ValueError, match="storage|address"):
        open_storage(address)


def test_links_in_shard_are_not_followed(split):
    num_bytes = int(ShardIndex.load(split).utterances["num_bytes"][0])
    link = member("utt-0.flac", type=tarfile.SYMTYPE, linkname="/etc/passwd")
    overwrite(split / SHARD, 0, link.ljust(num_bytes, b"\0"))
    accept_files(split)
    assert load_all(split).statistics.faults_by_kind == {"entry": 1}


def test_shard_that_is_a_link_holds_what_the_index_says_or_is_refused(split, tmp_path):
    """Stores of data link to shards; what counts is size and checksum, whatever they link to."""
    moved = tmp_path / "store.tar"
    (split / SHARD).rename(moved)
    (split / SHARD).symlink_to(moved)
    assert load_all(split, check="full").statistics.faults == 0
    assert not verify_corpus(split).findings
    for target in ("/etc/passwd", "/dev/zero", str(tmp_path / "secret.tar"), str(split)):
        (split / SHARD).unlink()
        (split / SHARD).symlink_to(target)
        with pytest.raises(ValueError, match=SHARD):
            load_all(split, max_bad_share=0.0)


def test_shard_that_is_a_pipe_is_never_opened(split):
    (split / SHARD).unlink()
    os.mkfifo(split / SHARD)
    with pytest.raises(ValueError, match=f"{SHARD}: missing"):
        load_all(split, max_bad_share=0.0)
    assert verify_corpus(split).findings.counts["missing_shard"] == 1


@pytest.mark.parametrize("text", [b"[" * 200_000, b'{"id":' * 50_000, b"9" * 50_000])
def test_json_bombs_are_faults(split, text):
    num_bytes = int(ShardIndex.load(split).utterances["num_bytes"][0])
    pair = member("utt-0.flac", b"fLaC") + member("utt-0.json", text)
    data = (split / SHARD).read_bytes()
    (split / SHARD).write_bytes(pair + data[num_bytes:])
    rows = np.load(split / ROWS_NAME)
    rows["offset"][1:] += len(pair) - num_bytes
    rows["num_bytes"][0] = len(pair)
    np.save(split / ROWS_NAME, rows)
    accept_files(split)
    assert load_all(split).statistics.faults_by_kind == {"entry": 1}
    assert verify_corpus(split).findings.counts["member_json"] == 1


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' * 200_000, "9" * 10_000])
def test_index_bombs_are_refused(split, text):
    (split / INDEX_NAME).write_text(text)
    with pytest.raises(ValueError, match="index"):
        load_all(split)


def test_index_of_absurd_size_is_not_read(split):
    os.truncate(split / INDEX_NAME, MAX_INDEX_BYTES + 1)  # takes no room: it is sparse
    with pytest.raises(ValueError, match="more than any index"):
        load_all(split)
    assert verify_corpus(split).findings.counts["index"] == 1


@pytest.mark.parametrize(
    ("column", "value"),
    [("offset", 2**64 - 10), ("offset", 2**40), ("num_bytes", 2**32 - 1)],
)
def test_rows_that_point_outside_the_shard_refused(split, column, value):
    change_rows(split, column, 0, value)
    accept_files(split)
    with pytest.raises(ValueError, match=f"{ROWS_NAME}: an utterance lies beyond"):
        load_all(split)
    assert verify_corpus(split).findings.counts["index_file"] == 1


@pytest.mark.parametrize("column", ["shard", "category"])
def test_rows_of_a_shard_or_category_without_name_refused(split, column):
    change_rows(split, column, 0, 7)
    accept_files(split)
    with pytest.raises(ValueError, match=f"{ROWS_NAME}: "):
        load_all(split)


def test_row_with_absurd_length_is_left_to_the_plan(split):
    change_rows(split, "num_samples", 0, 2**32 - 1)
    accept_files(split)
    with pytest.raises(ValueError, match=r"utterance 0 .* lasts 268435"):
        load_all(split)


def test_member_with_absurd_size_is_a_fault(split):
    info = tarfile.TarInfo("utt-0.flac")
    info.size = 2**35
    overwrite(split / SHARD, 0, info.tobuf(tarfile.GNU_FORMAT))
    accept_files(split)
    assert load_all(split).statistics.faults_by_kind == {"entry": 1}
    assert verify_corpus(split).findings.counts["foreign_member"] == 1


def test_audio_of_another_format_is_never_given_to_its_decoder(split, monkeypatch):
    num_bytes = int(ShardIndex.load(split).utterances["num_bytes"][0])
    riff = b"RIFF" + bytes(num_bytes - 2000)
    overwrite(split / SHARD, 512, riff[: num_bytes // 2])
    accept_files(split)
    assert load_all(split).statistics.faults_by_kind == {"audio": 1}
    assert "no FLAC" in verify_corpus(split).describe()


def test_position_of_a_checkpoint_is_data(split, bait):
    loader = load_all(split)
    state = loader.state_dict() | {"plan": "__import__('os').mkdir('bait')"}
    with pytest.raises(ValueError, match="position"):
        loader.load_state_dict(json.loads(json.dumps(state)))
    assert not bait.exists()
