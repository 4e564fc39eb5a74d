import numpy as np
import pytest

from data_prepare.splits import LEFT_OUT, SpeechTable, split_groups, split_utterances

SHARES = {"train": 0.8, "valid": 0.1, "test": 0.1}


def table_of(speakers_of_group):
    """One entry of 10 s a (group, speaker) pair."""
    pairs = [(g, s) for g, speakers in enumerate(speakers_of_group) for s in speakers]
    groups, speakers = np.array(pairs).T
    return SpeechTable(groups, speakers, np.full(len(pairs), 10.0))


def split(speakers_of_group, *, seed=0, shares=SHARES):
    table = table_of(speakers_of_group)
    order = np.random.default_rng(seed).permutation(len(speakers_of_group))
    num_speakers = int(table.speakers.max()) + 1
    return table, split_groups(table, order=order, num_speakers=num_speakers, shares=shares)


def check_no_speaker_in_two_splits(table, result):
    splits = result.split_of(table.groups, table.speakers)
    for speaker in set(table.speakers.tolist()) - {-1}:
        assert len(set(splits[table.speakers == speaker].tolist()) - {LEFT_OUT}) == 1
    return splits


def test_split_groups_own_speakers_shares_are_kept():
    table, result = split([(3 * g, 3 * g + 1, 3 * g + 2) for g in range(200)])
    splits = check_no_speaker_in_two_splits(table, result)
    assert result.max_groups is None
    assert LEFT_OUT not in splits
    assert np.bincount(splits) / len(splits) == pytest.approx([0.8, 0.1, 0.1], abs=0.015)


def test_split_groups_shared_speakers_stay_together():
    # Four calls of each firm share its CEO; each call has an analyst of its own.
    table, result = split([(g // 4, 100 + g) for g in range(160)])
    splits = check_no_speaker_in_two_splits(table, result)
    assert result.max_groups is None
    assert LEFT_OUT not in splits
    assert np.bincount(splits).min() > 0.05 * len(splits)


def test_split_groups_speaker_in_all_calls_does_not_glue_them():
    table, result = split([(0, 1 + g) for g in range(100)])
    splits = check_no_speaker_in_two_splits(table, result)
    assert result.max_groups == 64
    lost = splits == LEFT_OUT
    assert set(table.speakers[lost].tolist()) == {0}
    assert 10 < lost.sum() < 50  # that speaker, in valid and test
    assert result.fill >= 0.75


def test_split_groups_web_of_analysts_each_split_is_well_filled():
    rng = np.random.default_rng(0)
    calls = [(1000 + g, 2000 + g // 4, *rng.choice(150, 3, replace=False)) for g in range(300)]
    table, result = split(calls)
    check_no_speaker_in_two_splits(table, result)
    assert result.max_groups is not None
    assert result.fill >= 0.7


def test_split_groups_nobody_links_nothing():
    table, result = split([(-1,)] * 50)
    splits = result.split_of(table.groups, table.speakers)
    assert sorted(set(splits.tolist())) == [0, 1, 2]
    assert LEFT_OUT not in splits


@pytest.mark.parametrize("num_groups", [3, 4, 5, 10])
def test_split_groups_few_groups_each_split_gets_one(num_groups):
    _, result = split([(g,) for g in range(num_groups)])
    assert sorted(set(result.split_of_group.tolist())) == [0, 1, 2]
    assert (result.split_of_group == 0).sum() >= num_groups - 3


def test_split_groups_fewer_groups_than_splits_raises():
    with pytest.raises(ValueError, match="2 groups .* for 3 splits"):
        split([(0,), (1,)])


def test_split_groups_order_decides():
    calls = [(g,) for g in range(100)]
    one, same, other = (split(calls, seed=seed)[1].split_of_group for seed in (0, 0, 1))
    assert one.tolist() == same.tolist() != other.tolist()


def test_split_utterances_shares_and_determinism():
    hashes = np.random.default_rng(0).integers(0, 2**64, 100_000, dtype=np.uint64)
    splits = split_utterances(hashes, shares=[0.8, 0.15, 0.05])
    assert np.bincount(splits) / 1e5 == pytest.approx([0.8, 0.15, 0.05], abs=0.005)
    assert np.array_equal(split_utterances(hashes[:50], shares=[0.8, 0.15, 0.05]), splits[:50])
