"""Medians, intervals and verdicts over a few repeats."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy import stats

LEVEL = 0.95
NO_DIFFERENCE = "no detectable difference"


@dataclass(frozen=True)
class Summary:
    """Some repeats of a figure.

    Arguments
    ---------
    values : Sequence[float]
        The repeats.
    median, mean : float, float
        Their middle.
    low, high : float | None, float | None
        95 % interval of the mean by Student's t; None for fewer than two repeats.
    """

    values: Sequence[float]
    median: float
    mean: float
    low: float | None
    high: float | None

    def as_text(self, form: str = "{:.2f}") -> str:
        """Return "median (low to high)"."""
        middle = form.format(self.median)
        if self.low is None or self.high is None:
            return middle
        return f"{middle} ({form.format(self.low)} to {form.format(self.high)})"


def summarise(values: Sequence[float | None]) -> Summary | None:
    """Return the summary of repeats; None if one of them lacks the figure.

    Arguments
    ---------
    values : Sequence[float | None]
        One figure of each repeat.

    Returns
    -------
    Summary or None
        None as well for no repeats at all.
    """
    known = [float(value) for value in values if value is not None and math.isfinite(value)]
    if not known or len(known) < len(values):
        return None
    mean = statistics.fmean(known)
    if len(known) < 2:
        return Summary(known, known[0], mean, None, None)
    width = half_width(known)
    return Summary(known, statistics.median(known), mean, mean - width, mean + width)


def half_width(values: Sequence[float], *, level: float = LEVEL) -> float:
    """Return half the width of the mean's interval by Student's t.

    Arguments
    ---------
    values : Sequence[float]
        At least two.
    level : float
        Of confidence.

    Returns
    -------
    float
        In the unit of the values.
    """
    quantile = float(stats.t.ppf((1 + level) / 2, len(values) - 1))
    return quantile * statistics.stdev(values) / math.sqrt(len(values))


@dataclass(frozen=True)
class Verdict:
    """How one way differs from another.

    Arguments
    ---------
    difference : float
        Mean over seeds of (this minus that).
    low, high : float, float
        Its 95 % interval; the seeds are pairs: same first weights, same order of the data.
    num_seeds : int
        Pairs.
    is_shown : bool
        Whether the interval leaves out 0.
    """

    difference: float
    low: float
    high: float
    num_seeds: int
    is_shown: bool


def verdict(this: Mapping[int, float | None], that: Mapping[int, float | None]) -> Verdict | None:
    """Compare two ways by the seeds that both have.

    Arguments
    ---------
    this : Mapping[int, float | None]
        Seed -> figure.
    that : Mapping[int, float | None]
        Seed -> figure.

    Returns
    -------
    Verdict or None
        None for fewer than two pairs: nothing can be said.
    """
    pairs = [(this[seed], that[seed]) for seed in this if seed in that]
    differences = [a - b for a, b in pairs if a is not None and b is not None]
    if len(differences) < 2 or len(differences) < len(pairs):
        return None
    mean, width = statistics.fmean(differences), half_width(differences)
    low, high = mean - width, mean + width
    is_shown = not low <= 0.0 <= high
    return Verdict(mean, low, high, len(differences), is_shown)


@dataclass(frozen=True)
class Ratio:
    """How many times as much of something one way takes as another, over paired units.

    Arguments
    ---------
    mean : float
        Geometric mean of the units' ratios.
    low, high : float, float
        Its 95 % interval: Student's t on the logarithms.
    per_unit : Sequence[float]
        The ratios.
    """

    mean: float
    low: float
    high: float
    per_unit: Sequence[float]

    def verdict(self, *, resolution: float, more: str = "slower", less: str = "faster") -> str:
        """Return `more` or `less` where the interval leaves out 1, else that nothing is seen.

        Arguments
        ---------
        resolution : float
            A mean nearer to 1 than this is not called a difference, however narrow its interval:
            machines are not the same from minute to minute; >= 0.
        more : str
            Word for a ratio above 1.
        less : str
            Word for a ratio below 1.

        Returns
        -------
        str
            For a table.
        """
        is_shown = not self.low <= 1.0 <= self.high
        is_large = abs(math.log(self.mean)) > math.log1p(resolution)
        if not (is_shown and is_large):
            return NO_DIFFERENCE
        return more if self.mean > 1.0 else less


def geometric_ratio(this: Sequence[float], that: Sequence[float]) -> Ratio | None:
    """Compare two ways by units that both have gone through.

    Arguments
    ---------
    this : Sequence[float]
        A figure of each unit; > 0.
    that : Sequence[float]
        The same figure of the way that it is compared with, in the same order.

    Returns
    -------
    Ratio or None
        None for fewer than two units: nothing can be said.
    """
    logs = [math.log(a / b) for a, b in zip(this, that, strict=True)]
    if len(logs) < 2:
        return None
    mean, width = statistics.fmean(logs), half_width(logs)
    low, middle, high = (math.exp(value) for value in (mean - width, mean, mean + width))
    return Ratio(middle, low, high, [math.exp(value) for value in logs])
