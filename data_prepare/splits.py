"""Divide a corpus into splits: no group and no speaker in two of them, or by utterance.

Groups (calls) that share a speaker belong together. Some speakers link very many groups: analysts
follow dozens of firms, so that taken strictly nearly all calls of a corpus hang together and no
split can be made. Then the speakers who link the most groups link none: each of them is kept in
the one split that has most of their speech, and their utterances in other splits are left out and
counted; a split that loses much this way is dealt more groups. How many groups a speaker may link
is the largest of a few limits that leaves each split at least three quarters of its share.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float64]

LEFT_OUT = -1
_LIMITS = (None, 64, 32, 16, 8, 4, 3, 2, 1)
_GOOD_FILL = 0.75
_OVERFILL = 1.1
_MAX_DEALS = 4
_MAX_RAISE = 2.0


@dataclass(frozen=True)
class SpeechTable:
    """How long each speaker speaks in each group; one entry a pair of both.

    Arguments
    ---------
    groups : ndarray
        [P] numbers of groups.
    speakers : ndarray
        [P] numbers of speakers; -1 for nobody in particular, who links no groups.
    seconds : ndarray
        [P] sum of durations.
    """

    groups: Ints
    speakers: Ints
    seconds: Floats


@dataclass(frozen=True)
class GroupSplit:
    """A division of groups.

    Arguments
    ---------
    split_of_group : ndarray
        [G] number of the split.
    home_of_speaker : ndarray
        [K] the only split in which a speaker's utterances are kept.
    max_groups : int | None
        Speakers in more groups than this did not link them; None: all did.
    fill : float
        Least ratio of kept to wanted seconds of any split.
    """

    split_of_group: Ints
    home_of_speaker: Ints
    max_groups: int | None
    fill: float

    def split_of(self, groups: Ints, speakers: Ints) -> Ints:
        """Return the split of each utterance, `LEFT_OUT` where its speaker is in another one."""
        splits = self.split_of_group[groups]
        is_home = (speakers < 0) | (self.home_of_speaker[speakers] == splits)
        return np.where(is_home, splits, LEFT_OUT)


def split_groups(
    table: SpeechTable, *, order: Ints, num_speakers: int, shares: Mapping[str, float]
) -> GroupSplit:
    """Divide groups by their seconds.

    Arguments
    ---------
    table : SpeechTable
        Who speaks where.
    order : Ints
        [G] all groups in shuffled order, which decides who goes where.
    num_speakers : int
        Numbers of speakers are below this.
    shares : Mapping[str, float]
        Split to share of the seconds, in the order of the splits' numbers; sums to 1.

    Returns
    -------
    GroupSplit
        The first limit that leaves all splits three quarters full, else the best one.

    Raises
    ------
    ValueError
        If there are fewer groups than splits.
    """
    if len(order) < len(shares):
        raise ValueError(
            f"splits: {len(order)} groups (calls) for {len(shares)} splits; expected at least one "
            "group a split; take split_by='utterance', or other shares."
        )
    num_speakers = max(1, num_speakers)
    best: GroupSplit | None = None
    counts = np.bincount(table.speakers[table.speakers >= 0], minlength=num_speakers)
    for limit in _LIMITS:
        links = _links(table, counts, limit)
        split = _split_linked(table, links, order, num_speakers, list(shares.values()))
        split = replace(split, max_groups=limit)
        if best is None or split.fill > best.fill:
            best = split
        if best.fill >= _GOOD_FILL:
            break
    assert best is not None, "there is at least one limit"
    return best


def split_utterances(hashes: npt.NDArray[np.uint64], *, shares: Sequence[float]) -> Ints:
    """Draw a split for each utterance by itself.

    Arguments
    ---------
    hashes : npt.NDArray[np.uint64]
        [N] random numbers of 64 bits that belong to the utterances.
    shares : Sequence[float]
        Share of each split; sums to 1.

    Returns
    -------
    ndarray
        [N] numbers of splits.
    """
    bounds = np.cumsum(shares)[:-1]
    uniform = hashes.astype(np.float64) / 2.0**64
    return np.searchsorted(bounds, uniform, side="right").astype(np.int64)


def _links(table: SpeechTable, counts: Ints, limit: int | None) -> list[tuple[int, int]]:
    """Return pairs of groups that a speaker links."""
    is_link = table.speakers >= 0
    if limit is not None:
        is_link &= counts[table.speakers] <= limit
    first_group: dict[int, int] = {}
    links = []
    pairs = zip(table.speakers[is_link].tolist(), table.groups[is_link].tolist(), strict=True)
    for speaker, group in pairs:
        links.append((first_group.setdefault(speaker, group), group))
    return links


def _split_linked(
    table: SpeechTable,
    links: list[tuple[int, int]],
    order: Ints,
    num_speakers: int,
    shares: list[float],
) -> GroupSplit:
    """Deal linked groups; where speakers who are left out thin a split, deal it more groups."""
    seconds = np.bincount(table.groups, weights=table.seconds, minlength=len(order))
    component = _components(len(order), links)
    _, ranks = np.unique(component[order], return_index=True)
    in_order = [int(component[order[rank]]) for rank in sorted(ranks)]
    sizes = np.bincount(component, weights=seconds, minlength=len(order)).astype(np.float64)
    dealt = list(shares)
    best: GroupSplit | None = None
    for _ in range(_MAX_DEALS):
        split_of_component = _deal(in_order, sizes, dealt)
        splits = np.array([split_of_component[c] for c in component.tolist()], dtype=np.int64)
        split, fills = _keep_at_home(table, splits, num_speakers, shares)
        if best is None or split.fill > best.fill:
            best = split
        if best.fill >= _GOOD_FILL:
            break
        dealt = _share_more(dealt, fills)
    assert best is not None, "there is at least one deal"
    return best


def _keep_at_home(
    table: SpeechTable, split_of_group: Ints, num_speakers: int, shares: list[float]
) -> tuple[GroupSplit, list[float]]:
    """Give each speaker one split; returns the ratio of kept to wanted seconds of each, too."""
    is_known = table.speakers >= 0
    heard = np.zeros((num_speakers, len(shares)))
    places = (table.speakers[is_known], split_of_group[table.groups[is_known]])
    np.add.at(heard, places, table.seconds[is_known])
    home = heard.argmax(axis=1)
    kept = GroupSplit(split_of_group, home, None, 0.0).split_of(table.groups, table.speakers)
    kept_s = np.array([table.seconds[kept == k].sum() for k in range(len(shares))])
    fills = kept_s / (np.array(shares) * max(float(table.seconds.sum()), 1e-9))
    return GroupSplit(split_of_group, home, None, float(fills.min())), fills.tolist()


def _share_more(dealt: list[float], fills: list[float]) -> list[float]:
    """Raise the shares of thin splits at the cost of the largest one."""
    largest = dealt.index(max(dealt))
    raised = [
        share * min(_MAX_RAISE, 1.0 / max(fill, 1e-9)) if fill < 1.0 else share
        for share, fill in zip(dealt, fills, strict=True)
    ]
    rest = 1.0 - sum(share for k, share in enumerate(raised) if k != largest)
    if rest < max(raised[:largest] + raised[largest + 1 :], default=0.0):
        return dealt
    return [rest if k == largest else share for k, share in enumerate(raised)]


def _components(num_groups: int, links: list[tuple[int, int]]) -> Ints:
    """Return for each group the representative of all groups linked to it."""
    parent = list(range(num_groups))

    def root(group: int) -> int:
        while parent[group] != group:
            parent[group] = parent[parent[group]]
            group = parent[group]
        return group

    for one, other in links:
        low, high = sorted((root(one), root(other)))
        parent[high] = low
    return np.array([root(group) for group in range(num_groups)], dtype=np.int64)


def _deal(components: list[int], sizes: Floats, shares: list[float]) -> dict[int, int]:
    """Give each component to the emptiest split that it fits into, else to the largest share."""
    wanted = [share * float(sizes.sum()) for share in shares]
    filled = [0.0] * len(shares)
    largest = shares.index(max(shares))
    split_of: dict[int, int] = {}
    for component in components:
        size = float(sizes[component])
        fitting = [k for k, w in enumerate(wanted) if filled[k] + size <= _OVERFILL * w]
        split = min(fitting, key=lambda k: filled[k] / wanted[k], default=largest)
        split_of[component] = split
        filled[split] += size
    for split in range(len(shares)):  # small corpora: each split gets something
        if split in split_of.values():
            continue
        donors = [c for c in components if split_of[c] == largest]
        if len(donors) > 1:
            split_of[min(donors, key=lambda c: float(sizes[c]))] = split
    return split_of
