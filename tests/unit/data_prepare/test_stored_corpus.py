"""Opening a prepared corpus in a folder or at an address, also by hparams/corpus/prepared.yaml."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hyperpyyaml import load_hyperpyyaml

from data_prepare.index import ShardIndex
from data_prepare.prepared import PreparedCorpus
from data_prepare.storage import RemoteOptions
from data_prepare.stored_corpus import StoredCorpus, check_corpus, open_corpus
from data_prepare.stream import ShardLoader
from tests.conftest import ROOT
from tests.unit.data_prepare.corpora import write_split
from tests.unit.data_prepare.faulty_server import QUICK, FaultyServer
from tests.unit.data_prepare.remote_cases import no_proxies

pytest.importorskip("aiohttp")
__all__ = ["no_proxies"]
SPLITS = {"train": [[0.2, 0.3], [0.4]], "valid": [[0.2]], "test": [[0.3]]}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    for name, shards in SPLITS.items():
        write_split(folder / name, shards)
    write_summary(folder, {name: {"num_utterances": 1} for name in SPLITS})
    return folder


def write_summary(folder: Path, splits: Any) -> None:
    (folder / "summary.json").write_text(json.dumps({"splits": splits}), encoding="utf-8")


def options(tmp_path: Path) -> RemoteOptions:
    return RemoteOptions(cache_folder=tmp_path / "cache", retry=QUICK)


def test_open_folder_or_file_address_gives_the_prepared_corpus(corpus):
    expected = PreparedCorpus.load(corpus)
    assert open_corpus(corpus) == open_corpus(str(corpus)) == expected
    assert open_corpus(f"file://{corpus}") == expected


def test_open_address_gives_its_splits(corpus, tmp_path):
    with FaultyServer(tmp_path) as server:
        server.fail("summary.json", "cut", 503)
        found = open_corpus(f"{server.address}/corpus", remote=options(tmp_path))
        assert isinstance(found, StoredCorpus)
        assert list(found.splits) == list(SPLITS)
        index = ShardIndex.load(found.split("train"))
        batches = list(ShardLoader(found.split("train"), max_batch_s=2.0))
    assert index.checksum == ShardIndex.load(corpus / "train").checksum
    assert sorted(i for batch in batches for i in batch.id) == ["utt-0", "utt-1", "utt-2"]
    with pytest.raises(ValueError, match=r"no split 'dev'; expected one of .*valid"):
        found.split("dev")


def test_open_address_without_corpus_error(tmp_path):
    with FaultyServer(tmp_path) as server:
        address = f"{server.address}/none"
        with pytest.raises(FileNotFoundError, match=f"{address}: has no summary.json"):
            open_corpus(address, remote=options(tmp_path))


@pytest.mark.parametrize(
    "splits",
    [{"../secret": {}}, {"/etc": {}}, {"a/b": {}}, {"train": {"folder": "../x"}}, [], None],
)
def test_open_address_with_splits_elsewhere_error(corpus, tmp_path, splits):
    write_summary(corpus, splits)
    with FaultyServer(tmp_path) as server, pytest.raises(ValueError, match="corpus"):
        open_corpus(f"{server.address}/corpus", remote=options(tmp_path))


def test_check_corpus_warns_of_absent_shards_and_the_loader_refuses_them(corpus, tmp_path, caplog):
    with FaultyServer(tmp_path) as server:
        check_corpus(f"{server.address}/corpus", remote=options(tmp_path))
        assert "missing" not in caplog.text  # other loggers may say more
        (corpus / "valid" / "shard-000000.tar").unlink()
        check_corpus(f"{server.address}/corpus", remote=options(tmp_path))
        split = open_corpus(f"{server.address}/corpus", remote=options(tmp_path)).split("valid")
        with pytest.raises(ValueError, match=r"corpus/valid: .*shard-000000\.tar: missing"):
            ShardLoader(split, max_batch_s=2.0)
    assert re.search(r"corpus/valid: .*shard-000000\.tar: missing", caplog.text)


def test_prepared_yaml_opens_an_address(corpus, tmp_path):
    text = (ROOT / "hparams/corpus/prepared.yaml").read_text(encoding="utf-8")
    with FaultyServer(tmp_path) as server:
        address = f"{server.address}/corpus"
        given = {"shards_folder": address, "cache_folder": str(tmp_path / "c"), "access": "ranges"}
        loaded = load_hyperpyyaml(text, overrides=given)
        loaded["prepare"]()
        found = open_corpus(loaded["shards_folder"], remote=loaded["remote"])
        assert ShardIndex.load(found.split(loaded["train_split"])).num_utterances == 3
    assert found.split("train").options.access == "ranges"
    assert (tmp_path / "c" / "indexes").is_dir()


def test_prepared_yaml_has_the_defaults_of_the_code(tmp_path):
    text = (ROOT / "hparams/corpus/prepared.yaml").read_text(encoding="utf-8")
    assert load_hyperpyyaml(text, overrides={"shards_folder": "x"})["remote"] == RemoteOptions()
