"""Learning curves and curves over sizes, as PNG."""

from __future__ import annotations

import io
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np

from comparing.records import Record

mpl.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402 - the backend comes first

SIZE_IN = (7.0, 4.2)
Records = Mapping[str, Mapping[int, Record]]


def curves_png(records: Records, *, over: str, metric: str, title: str) -> bytes:
    """Return the best validation figure so far of each way: a thin line a seed, a thick median.

    Arguments
    ---------
    records : Records
        Way -> seed -> run.
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


def sizes_png(
    sizes: Mapping[str, Mapping[float, Sequence[tuple[float | None, float | None]]]],
    *,
    metric: str,
    title: str,
) -> bytes:
    """Return test figure and time to target of each way over sizes of the corpus, on one plot.

    Arguments
    ---------
    sizes : Mapping[str, Mapping[float, Sequence[tuple[float | None, float | None]]]]
        Way -> hours -> (test figure, seconds to target) of each seed; None: never reached.
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
    right = axes.twinx()
    for number, (way, own) in enumerate(sizes.items()):
        colour, xs = f"C{number}", sorted(own)
        for place, (target, style) in enumerate(((axes, "-o"), (right, "--s"))):
            points = [(x, _known_median(pair[place] for pair in own[x])) for x in xs]
            shown = [(x, y) for x, y in points if y is not None]
            label = way if place == 0 else f"{way}, s to target"
            target.plot(
                [x for x, _ in shown], [y for _, y in shown], style, color=colour, label=label
            )
    axes.set_xscale("log")
    axes.set_xlabel("hours of training data")
    axes.set_ylabel(f"test {metric} (solid)")
    right.set_ylabel("seconds to target (dashed; only where every seed reached it)")
    right.set_ylim(bottom=0)
    axes.set_ylim(bottom=0)
    return _finish(figure, axes, title)


def _known_median(values: Any) -> float | None:
    found = list(values)
    return None if None in found or not found else statistics.median(found)


def _finish(figure: Any, axes: Any, title: str) -> bytes:
    axes.set_title(title)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    plt.close(figure)
    return buffer.getvalue()
