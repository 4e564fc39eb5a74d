"""The order of BizSpeech utterances over shards."""

import numpy as np
import pytest

from data_prepare.index import ShardIndex
from tests.unit.data_prepare.raw_corpora import (
    leave_out_plot,
    write_bizspeech,
    write_call,
    write_metadata,
)
from tests.unit.data_prepare.test_bizspeech import prepare


@pytest.fixture(autouse=True)
def _no_plot(monkeypatch):
    leave_out_plot(monkeypatch)


def test_bizspeech_order_random_shards_open_few_recordings(tmp_path):
    raw = write_bizspeech(tmp_path / "raw", 8)
    rows, _, _ = prepare(raw, tmp_path / "out", num_shards={"train": 4})
    index = ShardIndex.load(tmp_path / "out/train")
    assert [shard.num_utterances for shard in index.shards] == [12] * 4
    for shard in range(4):
        groups = [row["group"] for row in rows[12 * shard : 12 * shard + 12]]
        assert len(set(groups)) == 2
        assert groups != sorted(groups)
    assert [row["group"] for row in rows[::12]] != [f"e{n}" for n in (0, 2, 4, 6)]


@pytest.mark.parametrize("sorting", ["ascending", "descending"])
def test_bizspeech_order_by_duration(tmp_path, sorting):
    raw = tmp_path / "raw"
    for number in range(5):
        write_call(raw, f"e{number}", row_s=1.5 + 0.4 * ((number * 3) % 5))
    write_metadata(raw, {f"e{number}": True for number in range(5)})
    prepare(raw, tmp_path / "out", sorting=sorting, num_shards={"train": 3})
    lengths = ShardIndex.load(tmp_path / "out/train").utterances["num_samples"].astype(int)
    steps = np.diff(lengths) * (1 if sorting == "ascending" else -1)
    assert (steps >= 0).all()
