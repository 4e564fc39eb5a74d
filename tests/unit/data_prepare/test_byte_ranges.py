"""Which byte ranges are read for some rows: all, merged, in order, and little between."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prepare.byte_ranges import MAX_GAP_BYTES, byte_ranges
from data_prepare.index import ROW_DTYPE


def rows_of(shards: list[list[int]], chosen: list[int]) -> np.ndarray:
    """Rows `chosen` of shards that hold utterances of these sizes, one after the other."""
    rows = np.zeros(sum(map(len, shards)), dtype=ROW_DTYPE)
    rows["shard"] = np.repeat(np.arange(len(shards)), [len(shard) for shard in shards])
    rows["num_bytes"] = [size for shard in shards for size in shard]
    rows["offset"] = [end - size for shard in shards for end, size in _ends(shard)]
    return rows[chosen]


def _ends(shard: list[int]) -> list[tuple[int, int]]:
    return list(zip(np.cumsum(shard).tolist(), shard, strict=True))


def test_ranges_merge_neighbours_in_offset_order():
    rows = rows_of([[512, 1024, 2048, 512], [1024]], [4, 3, 0, 1])
    found = [(r.shard, r.offset, r.num_bytes, r.places) for r in byte_ranges(rows)]
    assert found == [(0, 0, 1536, [2, 3]), (0, 3584, 512, [1]), (1, 0, 1024, [0])]


def test_ranges_read_small_gaps_up_to_a_share():
    rows = rows_of([[100_000, 1024, 100_000, 20_000, 100_000, 2048, 100_000]], [0, 2, 4, 6])
    # 3072 of 400,000 bytes are within the share, 23,072 are not.
    assert [r.places for r in byte_ranges(rows)] == [[0, 1], [2, 3]]


def test_ranges_gap_is_not_read_if_large_although_cheap():
    rows = rows_of([[10**7, MAX_GAP_BYTES + 512, 10**7]], [0, 2])
    assert len(byte_ranges(rows)) == 2


def test_ranges_row_twice_is_read_once():
    (found,) = byte_ranges(rows_of([[1024, 512]], [1, 0, 1, 1]))
    assert (found.offset, found.num_bytes, sorted(found.places)) == (0, 1536, [0, 1, 2, 3])


@pytest.mark.parametrize("chosen", [[0], [2]])
def test_ranges_of_one_row_is_the_row(chosen):
    (found,) = byte_ranges(rows_of([[512, 512], [1024]], chosen))
    assert (found.num_bytes, found.places) == ({0: 512, 2: 1024}[chosen[0]], [0])


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    st.lists(st.lists(st.integers(1, 900), min_size=1, max_size=12), min_size=1, max_size=4),
    st.data(),
)
def test_ranges_hold_every_row_and_little_else(shards, data):
    num_rows = sum(map(len, shards))
    chosen = data.draw(st.lists(st.integers(0, num_rows - 1), min_size=1, unique=True))
    rows = rows_of(shards, chosen)
    found = byte_ranges(rows)
    assert sorted(place for r in found for place in r.places) == list(range(len(rows)))
    for part in found:
        for row in rows[part.places]:
            assert int(row["shard"]) == part.shard
            assert part.offset <= int(row["offset"])
            assert int(row["offset"] + row["num_bytes"]) <= part.offset + part.num_bytes
    assert [(r.shard, r.offset) for r in found] == sorted((r.shard, r.offset) for r in found)
    assert sum(r.num_bytes for r in found) <= 1.05 * int(rows["num_bytes"].sum())
