"""Which batches the epochs of Hogwild hold."""

from hogwild.items import EpochItems


def test_epoch_of_more_batches_than_a_pass_goes_on_into_the_next_ones():
    items = EpochItems(lambda number: 3 + number % 2, batches_per_epoch=5)
    found = [[item[2:4] for item in items.of(epoch)] for epoch in (1, 2, 3)]
    assert found == [
        [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)],
        [(1, 2), (1, 3), (2, 0), (2, 1), (2, 2)],
        [(3, 0), (3, 1), (3, 2), (3, 3), (4, 0)],
    ]
    assert [item.ends_epoch for item in items.of(2)] == [False] * 4 + [True]
