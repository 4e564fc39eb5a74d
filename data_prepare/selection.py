"""Take the hours that are wanted of each category, in the corpus's shuffled order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

_HOUR_S = 3600.0


@dataclass(frozen=True)
class Selection:
    """Hours wanted, and shares of the facets of a category.

    Arguments
    ---------
    hours : float | None
        Hours in all, or None for as many as the shares allow.
    facet_shares : tuple of (mapping | None)
        For each facet of a category ("native/q-and-a" has two) the share of each of its values,
        or None where any mixture will do. Shares of a facet sum to 1.
    """

    hours: float | None = None
    facet_shares: tuple[Mapping[str, float] | None, ...] = ()

    @property
    def is_everything(self) -> bool:
        """Tell whether nothing is left out."""
        return self.hours is None and not any(self.facet_shares)

    def share_of(self) -> dict[str, float]:
        """Return the share of each bin: the product of the shares of its facets."""
        facets = [shares for shares in self.facet_shares if shares]
        bins = product(*(shares.items() for shares in facets))
        return {
            "/".join(value for value, _ in facet_values): float(
                np.prod([share for _, share in facet_values])
            )
            for facet_values in bins
        }

    def bin_of(self, category: str) -> str:
        """Return the bin of a category: its facets that have shares."""
        facets = category.split("/")
        pairs = zip(facets, self.facet_shares, strict=False)
        return "/".join(facet for facet, shares in pairs if shares)

    def limits_s(self, available_s: Mapping[str, float]) -> dict[str, float]:
        """Return the most seconds of each bin.

        Arguments
        ---------
        available_s : Mapping[str, float]
            Seconds that the corpus holds of each bin.

        Returns
        -------
        dict
            Bin to seconds. Without wanted hours: as many as keep the shares.
        """
        shares = self.share_of()
        if self.hours is not None:
            total_s = self.hours * _HOUR_S
        else:
            total_s = min(available_s.get(b, 0.0) / s for b, s in shares.items() if s > 0)
        return {name: total_s * share for name, share in shares.items()}

    def is_filled(self, available_s: Mapping[str, float]) -> bool:
        """Tell whether all bins have what is wanted, so that the search can end."""
        if self.hours is None:
            return False
        limits_s = self.limits_s(available_s)
        return all(available_s.get(name, 0.0) >= limit for name, limit in limits_s.items())


@dataclass(frozen=True)
class Shortage:
    """A bin that ran out.

    Arguments
    ---------
    name : str
        The bin, such as "native/q-and-a".
    wanted_s : float
        Seconds wanted.
    available_s : float
        Seconds in the corpus.
    """

    name: str
    wanted_s: float
    available_s: float

    def __str__(self) -> str:
        name = self.name or "all categories"
        return (
            f"{name}: {self.available_s / _HOUR_S:.4f} h found, "
            f"{self.wanted_s / _HOUR_S:.4f} h wanted"
        )


def select(
    selection: Selection,
    seconds: npt.NDArray[np.float64],
    categories: npt.NDArray[np.integer],
    names: Sequence[str],
) -> tuple[npt.NDArray[np.bool_], list[Shortage]]:
    """Choose utterances in their order until each bin is full.

    Arguments
    ---------
    selection : Selection
        What is wanted.
    seconds : npt.NDArray[np.float64]
        [N] durations.
    categories : npt.NDArray[np.integer]
        [N] numbers of categories.
    names : Sequence[str]
        Their names.

    Returns
    -------
    tuple[ndarray, list[Shortage]]
        [N] True where taken: each bin ends with the first utterance that fills it. The bins
        that have less than wanted.
    """
    if selection.is_everything:
        return np.ones(len(seconds), dtype=np.bool_), []
    bins = [selection.bin_of(name) for name in names]
    bin_names = list(dict.fromkeys([*selection.share_of(), *bins]))
    bin_numbers = np.array([bin_names.index(name) for name in bins], dtype=np.int64)[categories]
    sums_s = np.bincount(bin_numbers, weights=seconds, minlength=len(bin_names))
    available_s = dict(zip(bin_names, sums_s.tolist(), strict=True))
    limits_s = selection.limits_s(available_s)
    is_taken = np.zeros(len(seconds), dtype=np.bool_)
    for number, name in enumerate(bin_names):
        rows = np.flatnonzero(bin_numbers == number)
        before_s = np.cumsum(seconds[rows]) - seconds[rows]
        is_taken[rows[before_s < limits_s.get(name, 0.0)]] = True
    shortages = [
        Shortage(name, limit_s, available_s[name])
        for name, limit_s in limits_s.items()
        if selection.hours is not None and available_s[name] < limit_s
    ]
    return is_taken, shortages
