import numpy as np
import pytest

from data_prepare.selection import Selection, select

NAMES = ["native/presentation", "native/q-and-a", "nonnative/presentation", "nonnative/q-and-a"]
SHARES = ({"nonnative": 0.25, "native": 0.75}, {"q-and-a": 0.6, "presentation": 0.4})


def corpus(hours_of_each=(10.0, 10.0, 10.0, 10.0), seed=0):
    """Return seconds [N] and categories [N] in random order; utterances of 6 s."""
    counts = [round(hours * 600) for hours in hours_of_each]
    categories = np.random.default_rng(seed).permutation(np.repeat(np.arange(4), counts))
    return np.full(len(categories), 6.0), categories


def hours_of(is_taken, seconds, categories):
    return np.bincount(categories[is_taken], weights=seconds[is_taken], minlength=4) / 3600


def test_select_shares_are_kept_in_all_four_categories():
    seconds, categories = corpus()
    is_taken, shortages = select(Selection(8.0, SHARES), seconds, categories, NAMES)
    expected = [8 * 0.75 * 0.4, 8 * 0.75 * 0.6, 8 * 0.25 * 0.4, 8 * 0.25 * 0.6]
    assert hours_of(is_taken, seconds, categories) == pytest.approx(expected, abs=6 / 3600)
    assert shortages == []


def test_select_takes_the_first_of_each_category():
    seconds, categories = corpus()
    is_taken, _ = select(Selection(4.0, SHARES), seconds, categories, NAMES)
    for category in range(4):
        taken = is_taken[categories == category]
        assert taken[: taken.sum()].all()


def test_select_category_runs_out_is_told():
    seconds, categories = corpus((10, 10, 10, 0.5))
    is_taken, shortages = select(Selection(8.0, SHARES), seconds, categories, NAMES)
    assert hours_of(is_taken, seconds, categories)[3] == pytest.approx(0.5)
    assert [str(s) for s in shortages] == ["nonnative/q-and-a: 0.5000 h found, 1.2000 h wanted"]


def test_select_one_facet_only_leaves_the_other_as_it_comes():
    seconds, categories = corpus((1, 3, 2, 2))
    selection = Selection(4.0, ({"nonnative": 0.5, "native": 0.5}, None))
    hours = hours_of(select(selection, seconds, categories, NAMES)[0], seconds, categories)
    assert hours[0] + hours[1] == pytest.approx(2.0, abs=6 / 3600)
    assert hours[1] / hours[0] == pytest.approx(3.0, rel=0.2)


def test_select_shares_without_hours_take_the_most_that_keeps_them():
    seconds, categories = corpus((10, 10, 2, 10))
    is_taken, shortages = select(Selection(None, SHARES), seconds, categories, NAMES)
    hours = hours_of(is_taken, seconds, categories)
    assert hours.sum() == pytest.approx(2 / (0.25 * 0.4), abs=0.02)
    assert hours / hours.sum() == pytest.approx([0.3, 0.45, 0.1, 0.15], abs=0.001)
    assert shortages == []


def test_select_hours_only_counts_all_categories_together():
    seconds, categories = corpus()
    is_taken, shortages = select(Selection(3.0), seconds, categories, NAMES)
    assert seconds[is_taken].sum() == 3 * 3600
    assert is_taken[:1800].all()
    assert shortages == []


def test_select_more_hours_than_there_are_is_told():
    seconds, categories = corpus((1, 0, 0, 0))
    is_taken, (shortage,) = select(Selection(3.0), seconds, categories, NAMES)
    assert is_taken.all()
    assert str(shortage) == "all categories: 1.0000 h found, 3.0000 h wanted"


def test_select_smaller_selection_is_part_of_the_larger():
    seconds, categories = corpus()
    small, large = (select(Selection(h, SHARES), seconds, categories, NAMES)[0] for h in (2.0, 6.0))
    assert not (small & ~large).any()


def test_select_nothing_wanted_takes_everything():
    seconds, categories = corpus()
    assert select(Selection(), seconds, categories, NAMES)[0].all()


def test_is_filled_only_when_each_bin_has_its_hours():
    selection = Selection(1.0, SHARES)
    full = {name: 3600.0 * share for name, share in selection.share_of().items()}
    assert selection.is_filled(full)
    assert not selection.is_filled(full | {"native/q-and-a": 3600 * 0.44})
    assert not Selection(None, SHARES).is_filled(full)
