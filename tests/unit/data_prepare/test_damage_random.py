"""Random damage: verify finds every changed byte, and neither it nor the loader ever breaks."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from data_prepare.index import INDEX_NAME, ROWS_NAME, TEXTS_NAME
from data_prepare.shard_walk import Pair, ShardWalk
from data_prepare.stream import ShardLoader
from data_prepare.verify import verify_corpus
from tests.unit.data_prepare.corpora import write_split
from tests.unit.data_prepare.damage import accept_files

SHARDS = ["shard-000000.tar", "shard-000001.tar"]
FILES = [*SHARDS, INDEX_NAME, ROWS_NAME, TEXTS_NAME]
NUM_UTTERANCES = 5
some = settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
places = st.floats(0, 1, exclude_max=True)
patches = st.binary(min_size=1, max_size=600) | st.integers(1, 600).map(bytes)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_split(
        tmp_path_factory.mktemp("whole") / "train", [[0.05, 0.1, 0.05], [0.05, 0.05]]
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged")


def damaged(whole: Path, folder: Path, name: str, place: float, patch: bytes) -> tuple[Path, bool]:
    """A copy with a patch somewhere in a file; and whether that changed anything."""
    split = folder / "train"
    shutil.rmtree(split, ignore_errors=True)
    shutil.copytree(whole, split)
    data = (split / name).read_bytes()
    at = int(place * len(data))
    new = (data[:at] + patch + data[at + len(patch) :])[: len(data)]
    (split / name).write_bytes(new)
    return split, new != data


@some
@given(name=st.sampled_from(FILES), place=places, patch=patches)
def test_verify_finds_any_change(whole, folder, name, place, patch):
    split, is_changed = damaged(whole, folder, name, place, patch)
    assert bool(verify_corpus(split, depth="content").findings) == is_changed


@some
@given(name=st.sampled_from([*SHARDS, ROWS_NAME, TEXTS_NAME]), place=places, patch=patches)
@example(SHARDS[0], 0.0, bytes(1024))
@example(ROWS_NAME, 0.0, bytes(200))
def test_nothing_breaks_where_checksums_agree_with_the_damage(whole, folder, name, place, patch):
    split, _ = damaged(whole, folder, name, place, patch)
    accept_files(split)
    is_clean = not verify_corpus(split).findings
    ids, error = load(split)
    # A verified corpus can be read; what the loader delivers without an error is of the corpus.
    assert not (is_clean and error)
    assert error or is_clean or set(ids) <= {f"utt-{n}" for n in range(NUM_UTTERANCES)}


def load(split: Path) -> tuple[list[str], Any]:
    """Ids that a loader delivers by default, and the error that ends it: always a ValueError."""
    try:
        return [i for batch in ShardLoader(split, max_batch_s=0.2) for i in batch.id], None
    except ValueError as error:
        return [], error


@some
@given(place=places, patch=patches)
def test_walk_reads_each_byte_once_and_finds_the_pairs_that_are_whole(whole, folder, place, patch):
    split, _ = damaged(whole, folder, SHARDS[0], place, patch)
    with (split / SHARDS[0]).open("rb") as file:
        walk = ShardWalk(file)
        pairs = [found for found in walk if isinstance(found, Pair)]
    assert walk.num_bytes == (split / SHARDS[0]).stat().st_size
    data, old = (split / SHARDS[0]).read_bytes(), (whole / SHARDS[0]).read_bytes()
    rows = np.load(whole / ROWS_NAME)[:3]
    spans = [(int(row["offset"]), int(row["offset"]) + int(row["num_bytes"])) for row in rows]
    untouched = {first for first, last in spans if data[first:last] == old[first:last]}
    assert untouched <= {pair.offset for pair in pairs}
