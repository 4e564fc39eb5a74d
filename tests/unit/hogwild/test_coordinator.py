"""The coordinator beside workers that act in every possible order."""

import os

from hypothesis import given, settings
from hypothesis import strategies as st

from hogwild.groups import Groups
from hogwild.items import Item
from hogwild.options import HogwildOptions
from tests.unit.hogwild.simulation import simulate

EXAMPLES = int(os.environ.get("HOGWILD_EXAMPLES", "300"))
SIZES = {
    "num_items": st.integers(1, 14),
    "group_size": st.integers(1, 5),
    "epochs": st.integers(1, 4),
    "num_workers": st.integers(1, 5),
    "prefetch": st.integers(1, 4),
    "drain": st.booleans(),
    "evaluation": st.sampled_from(["beside", "instead"]),
    "save_every": st.integers(0, 5),
    "num_deaths": st.integers(0, 6),
    "seed": st.integers(0, 2**32),
}


def item(place: int, epoch: int = 1, *, ends_epoch: bool = False) -> Item:
    return Item(epoch, place, 0, place, ends_epoch)


@settings(deadline=None, max_examples=EXAMPLES)
@given(**SIZES)
def test_every_item_is_applied_once_per_epoch(
    num_deaths, num_items, group_size, epochs, save_every, seed, **how
):
    applied, _, snapshots = simulate(
        HogwildOptions(**how),
        num_items=num_items,
        group_size=group_size,
        epochs=epochs,
        save_every=save_every,
        num_deaths=num_deaths,
        seed=seed,
    )
    whole = {(epoch, place) for epoch in range(1, epochs + 1) for place in range(num_items)}
    assert set(applied) == whole
    assert set(applied.values()) == {1}
    assert [s.epoch for s in snapshots if s.reason == "epoch"] == [*range(1, epochs + 1)]
    if not save_every:
        assert len(snapshots) == epochs


@settings(deadline=None, max_examples=EXAMPLES)
@given(max_updates=st.integers(1, 30), **SIZES)
def test_limit_in_updates_is_exact(max_updates, num_items, group_size, epochs, **more):
    rest = {name: more.pop(name) for name in ("save_every", "num_deaths", "seed")}
    applied, updates, snapshots = simulate(
        HogwildOptions(**more),
        num_items=num_items,
        group_size=group_size,
        epochs=epochs,
        max_updates=max_updates,
        **rest,
    )
    assert set(applied.values()) == {1}
    assert updates <= max_updates
    if snapshots[-1].reason == "limit":
        assert updates == max_updates
    else:
        assert len(applied) == epochs * num_items


def test_groups_end_when_full_and_with_an_epoch():
    groups = Groups(3)
    for place in range(4):
        groups.add(item(place))
    groups.add(item(4, ends_epoch=True))
    assert len(groups) == 2
    assert groups.open_epoch is None
    groups.note_applied(3)
    assert len(groups) == 1
    groups.note_applied(5)
    assert len(groups) == 0


def test_groups_do_not_mix_with_a_later_epoch_but_with_an_earlier_one():
    groups = Groups(4)
    groups.add(item(0))
    assert groups.would_begin(item(0, epoch=2))
    groups.add(item(0, epoch=2))
    assert not groups.would_begin(item(7, epoch=1))
    groups.add(item(7, epoch=1))
    assert groups.open_epoch == 2
    groups.note_applied(1)
    assert len(groups) == 1


def test_groups_of_a_returned_item_are_joined_by_items_of_the_epoch_under_way():
    groups = Groups(2)
    for place in range(2):
        groups.add(item(place, epoch=2))
    groups.add(item(7, epoch=1))
    assert groups.open_epoch == 2
    assert not groups.would_begin(item(2, epoch=2))
