import numpy as np
import pytest

from data_prepare.filters import RejectionCounts
from data_prepare.scan import ScannedCorpus, encode_row, stable_hash
from data_prepare.shard_plan import ShardPlan, ShardRules, write_plan
from data_prepare.utterance import Utterance

NUM_GROUPS, PER_GROUP = 200, 20


@pytest.fixture(scope="module")
def corpus():
    """Columns of 200 calls with 20 utterances of 2 to 10 s; every fifth call is not native."""
    num = NUM_GROUPS * PER_GROUP
    groups = np.repeat(np.arange(NUM_GROUPS), PER_GROUP)
    return ScannedCorpus(
        seconds=np.random.default_rng(0).uniform(2, 10, num),
        categories=(groups % 5 == 0).astype(int),
        groups=groups,
        speakers=groups,
        splits=np.zeros(num, dtype=int),
        hashes=np.array([stable_hash(0, str(n)) for n in range(num)], dtype=np.uint64),
        offsets=np.zeros(num, dtype=np.uint64),
        category_names=["native", "nonnative"],
        group_names=[f"g{n}" for n in range(NUM_GROUPS)],
        speaker_names=[f"s{n}" for n in range(NUM_GROUPS)],
        split_names=["train"],
        counts=RejectionCounts(),
    )


def rules(**changes):
    values = {
        "sorting": "random",
        "seed": 0,
        "rate_hz": 16000,
        "shard_bytes": 700_000_000,
        "num_shards": {"train": 40},
    }
    return ShardRules(**values | changes)


def arrange(corpus, **changes):
    everything = np.arange(len(corpus.seconds))
    return rules(**changes).arrange(corpus, everything, "train")


@pytest.mark.parametrize("sorting", ["random", "ascending", "descending"])
def test_arrange_each_utterance_once_in_even_shards(corpus, sorting):
    rows, bounds = arrange(corpus, sorting=sorting)
    assert sorted(rows.tolist()) == list(range(len(rows)))
    assert len(bounds) == 41
    hours = np.add.reduceat(corpus.seconds[rows], bounds[:-1])
    assert hours == pytest.approx(corpus.seconds.sum() / 40, rel=0.05)


def test_arrange_random_first_shards_are_a_fair_sample(corpus):
    rows, bounds = arrange(corpus)
    first = rows[: bounds[20]]
    assert corpus.categories[first].mean() == pytest.approx(0.2, abs=0.06)
    assert corpus.seconds[first].mean() == pytest.approx(corpus.seconds.mean(), rel=0.03)
    assert 95 <= len(set(corpus.groups[first].tolist())) <= 105


def test_arrange_random_recording_lies_in_few_shards(corpus):
    rows, bounds = arrange(corpus)
    shards = np.repeat(np.arange(40), np.diff(bounds))
    opened = {(int(s), int(g)) for s, g in zip(shards, corpus.groups[rows], strict=True)}
    assert len(opened) <= NUM_GROUPS + 40  # cut at most where a shard ends
    groups = corpus.groups[rows[: bounds[1]]]
    assert (np.diff(groups) != 0).mean() > 0.5  # shuffled within the shard


def test_arrange_seed_decides(corpus):
    one, same, other = (arrange(corpus, seed=seed)[0].tolist() for seed in (0, 0, 1))
    assert one == same != other


@pytest.mark.parametrize("count", [1, 7, 3999, 4000])
def test_arrange_any_count_no_shard_is_empty(corpus, count):
    _, bounds = arrange(corpus, num_shards={"train": count})
    assert len(bounds) == count + 1
    assert (np.diff(bounds) > 0).all()


def test_arrange_more_shards_than_utterances_raises(corpus):
    with pytest.raises(ValueError, match="4001 shards wanted for the 4000 utterances"):
        arrange(corpus, num_shards={"train": 4001})


@pytest.mark.parametrize(("shard_bytes", "expected"), [(700_000_000, 32), (4_000_000, 106)])
def test_arrange_default_count_follows_size(corpus, shard_bytes, expected):
    _, bounds = arrange(corpus, num_shards={}, shard_bytes=shard_bytes)
    assert len(bounds) - 1 == pytest.approx(expected, abs=2)


def test_plan_written_gives_utterances_of_each_shard(tmp_path, corpus):
    utterances = [
        Utterance(f"u{n}", "r.wav", n, n + 1.0, f"é {n}", "s", "g", "c", "en", "train")
        for n in range(len(corpus.seconds))
    ]
    lines = [encode_row(utterance) for utterance in utterances]
    (tmp_path / "utterances.jsonl").write_bytes(b"".join(lines))
    corpus.offsets[:] = np.cumsum([0, *map(len, lines[:-1])])
    arranged = {"train": arrange(corpus)}
    assert ShardPlan.load(tmp_path) is None
    write_plan(tmp_path, corpus, arranged, {"root": "/r", "rate_hz": 8000})
    plan = ShardPlan.load(tmp_path)
    assert (plan.splits, plan.num_shards("train"), plan.rate_hz) == (["train"], 40, 8000)
    rows, bounds = arranged["train"]
    expected = [utterances[row] for row in rows[bounds[3] : bounds[4]]]
    assert plan.utterances("train", 3) == expected
