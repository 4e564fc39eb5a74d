"""Other tools read our shards: what docs/stock_readers.md tells them to do, run and compared."""

import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_prepare.stream import ShardLoader
from tests.conftest import ROOT
from tests.unit.data_prepare.corpora import random_shards, write_split

PAGE = ROOT / "docs" / "stock_readers.md"
NUM_UTTERANCES = 12


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shards = random_shards(NUM_UTTERANCES, num_shards=3)
    return write_split(tmp_path_factory.mktemp("corpus") / "train", shards)


@pytest.fixture(scope="module")
def expected(split: Path) -> dict[str, tuple[str, np.ndarray]]:
    """Key to text and samples, as our loader gives them."""
    found = {}
    for batch in ShardLoader(split, max_batch_s=2.0):
        lengths = (batch.wavs.lengths * batch.wavs.data.shape[1]).round().int().tolist()
        rows = zip(batch.id, batch.text, batch.wavs.data, lengths, strict=True)
        found |= {key: (text, wav[:length].numpy()) for key, text, wav, length in rows}
    assert len(found) == NUM_UTTERANCES
    return found


def run_example(heading: str, folder: Path) -> dict[str, Any]:
    """Run the Python of a section of the page; return its variables."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    code = re.findall(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"folder": folder, "__name__": "example"}
    exec(compile("\n".join(code), f"{PAGE.name}, {heading}", "exec"), names)
    return names


def check(found: dict[str, tuple[str, np.ndarray]], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for key, (text, samples) in expected.items():
        assert found[key][0] == text
        np.testing.assert_array_equal(found[key][1], samples, err_msg=key)


def test_webdataset_reads_the_same(split, expected):
    utterances = run_example("webdataset", split)["utterances"]
    assert len(utterances) == NUM_UTTERANCES
    check({key: (text, samples) for key, text, samples in utterances}, expected)


def test_lhotse_reads_the_same(split, expected):
    cuts = list(run_example("lhotse", split)["cuts"])
    assert len(cuts) == NUM_UTTERANCES
    assert all(cut.num_samples == len(expected[cut.id][1]) for cut in cuts)
    check({cut.id: (cut.supervisions[0].text, cut.load_audio()[0]) for cut in cuts}, expected)


def test_lhotse_sampler_batches_them(split, expected):
    from lhotse.dataset import DynamicBucketingSampler

    cuts = run_example("lhotse", split)["cuts"]
    sampler = DynamicBucketingSampler(cuts, max_duration=1.5, num_buckets=2)
    batches = [[cut.id for cut in batch] for batch in sampler]
    assert len(batches) > 1
    assert sorted(sum(batches, [])) == sorted(expected)


def test_tar_lists_and_extracts_pairs(split, expected, tmp_path):
    shards = sorted(split.glob("shard-*.tar"))
    listings = [
        subprocess.run(["tar", "tf", shard], capture_output=True, text=True, check=True).stdout
        for shard in shards
    ]
    assert "".join(listings).split() == [
        name for key in expected_order(split) for name in (f"{key}.flac", f"{key}.json")
    ]
    subprocess.run(["tar", "xf", shards[0], "-C", tmp_path], check=True)
    assert len(list(tmp_path.iterdir())) == len(listings[0].split())


def expected_order(split: Path) -> list[str]:
    lines = (split / "utterances.jsonl").read_text(encoding="utf-8").splitlines()
    return [re.search(r'"key": "([^"]*)"', line)[1] for line in lines]
