"""Learning curves and curves over sizes, as PNG."""

from __future__ import annotations

import io
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np

from comparing.records import Record

mpl.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402 - the backend comes first

SIZE_IN = (7.0, 4.2)
Records = Mapping[str, Mapping[int, Record]]
"""Label of a way -> seed -> run."""
Sizes = Mapping[float, Sequence[tuple[float | None, float | None] | None]]
"""Hours -> (test figure, seconds to target) of each seed; None: no such figure, or no such run."""


def curves_png(records: Records, *, over: str, metric: str, title: str) -> bytes:
    """Return the best validation figure so far of each way: a thin line a seed, a thick median.

    Arguments
    ---------
    records : Records
        The runs that have ended; the label says where some have not.
    over : str
        "seconds", "utterances" or "updates": the axis.
    metric : str
        Name of the figure, for the axis.
    title : str
        Heading.

    Returns
    -------
    bytes
        A PNG file.
    """
    figure, axes = plt.subplots(figsize=SIZE_IN, layout="constrained")
    for number, (way, own) in enumerate(records.items()):
        colour = f"C{number}"
        lines = [(_places(record, over), record.best_so_far) for record in own.values()]
        for xs, ys in lines:
            axes.step(xs, ys, where="post", color=colour, alpha=0.35, linewidth=0.8)
        xs, ys = _median_line(lines)
        axes.step(xs, ys, where="post", color=colour, linewidth=2.0, label=way)
    axes.set_xlabel({"seconds": "seconds of training and validation"}.get(over, over))
    axes.set_ylabel(f"best validation {metric} so far")
    # Error rates begin far above 100 %, where nothing is to be seen.
    is_rate = metric.startswith(("wer", "cer"))
    axes.set_ylim(bottom=0, top=min(axes.get_ylim()[1], 110.0) if is_rate else None)
    return _finish(figure, axes, title)


def _places(record: Record, over: str) -> list[float]:
    return [float(getattr(point, over)) for point in record.curve]


def _median_line(
    lines: Sequence[tuple[list[float], list[float]]],
) -> tuple[list[float], list[float]]:
    """Return the median of steps over the range that all of them have."""
    known = [line for line in lines if line[0]]
    if not known:
        return [], []
    start, end = max(xs[0] for xs, _ in known), min(xs[-1] for xs, _ in known)
    grid = sorted({x for xs, _ in known for x in xs if start <= x <= end})
    columns = [
        [ys[int(np.searchsorted(xs, x, side="right")) - 1] for xs, ys in known] for x in grid
    ]
    return grid, [statistics.median(column) for column in columns]


def sizes_png(sizes: Mapping[str, Sizes], *, metric: str, title: str) -> bytes:
    """Return test figure and time to target of each way over sizes of the corpus, on one plot.

    Arguments
    ---------
    sizes : Mapping[str, Sizes]
        Label of a way -> its figures.
    metric : str
        Name of the figure, for the axis.
    title : str
        Heading.

    Returns
    -------
    bytes
        A PNG file: medians joined by lines, each seed as a faint mark. A test figure of some seeds
        only is hollow, and has no time to target beside it.
    """
    figure, axes = plt.subplots(figsize=SIZE_IN, layout="constrained")
    right = axes.twinx()
    for number, (label, own) in enumerate(sizes.items()):
        colour, points = f"C{number}", size_points(own)
        tested = [(x, y) for x, y, _, _ in points if y is not None]
        hollow = [(x, y) for x, y, _, is_whole in points if y is not None and not is_whole]
        timed = [(x, y) for x, _, y, _ in points if y is not None]
        axes.plot(*_columns(tested), "-o", color=colour, label=label)
        axes.plot(*_columns(hollow), "o", color=colour, markerfacecolor="white", zorder=3)
        right.plot(*_columns(timed), "--s", color=colour)
        for side, place, marker in ((axes, 0, "o"), (right, 1, "s")):
            found = [(x, pair[place]) for x, pairs in own.items() for pair in pairs if pair]
            known = [(x, y) for x, y in found if y is not None]
            side.scatter(*_columns(known), marker=marker, color=colour, alpha=0.3, s=14)
    hours = sorted({x for own in sizes.values() for x in own})
    axes.set_xscale("log")
    axes.set_xticks(hours, [f"{float(f'{x:.3g}'):g}" for x in hours])
    axes.minorticks_off()
    axes.set_xlabel("hours of training data")
    axes.set_ylabel(f"test {metric} (solid; hollow: seeds missing)")
    right.set_ylabel("s to target (dashed), if every seed reached it")
    for side in (axes, right):
        highest = side.dataLim.y1
        side.set_ylim(0, 1.05 * highest if 0 < highest < np.inf else None)
    return _finish(figure, axes, title)


def size_points(own: Sizes) -> list[tuple[float, float | None, float | None, bool]]:
    """Return hours, median test figure, median seconds to target, and whether all seeds are there.

    Arguments
    ---------
    own : Sizes
        Of a way.

    Returns
    -------
    list of tuple
        By hours. The figure is of the seeds that have ended; None: one of them, or all, have none.
        The seconds are None unless every seed reached the target.
    """
    points = []
    for hours, pairs in sorted(own.items()):
        known = [pair for pair in pairs if pair is not None]
        is_whole = len(known) == len(pairs)
        target_s = _known_median(seconds for _, seconds in known) if is_whole else None
        points.append((hours, _known_median(value for value, _ in known), target_s, is_whole))
    return points


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _known_median(values: Iterable[float | None]) -> float | None:
    found = list(values)
    known = [value for value in found if value is not None]
    return statistics.median(known) if known and len(known) == len(found) else None


def _finish(figure: Any, axes: Any, title: str) -> bytes:
    axes.set_title(title)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    plt.close(figure)
    return buffer.getvalue()
