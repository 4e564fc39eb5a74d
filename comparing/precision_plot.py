"""The plot of a comparison of precisions: units and intervals."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402 - the backend comes first

Found = Mapping[str, Any]


def picture(found: Found, comparisons: Sequence[Found]) -> bytes:
    """Return units and intervals of speed and of the validation metric, as PNG."""
    figure, axes = plt.subplots(1, 2, figsize=(9.0, 1.6 + 0.6 * len(comparisons)), squeeze=False)
    metric = found["valid_metric"]
    for place, one in enumerate(comparisons):
        speed, quality = one["wall_ms"], one["valid"].get(metric, {})
        _draw(axes[0, 0], place, speed, middle=speed.get("mean"), values=speed.get("per_unit", []))
        pairs = zip(quality.get("this", []), quality.get("that", []), strict=True)
        values = [a - b for a, b in pairs if a is not None and b is not None]
        _draw(axes[0, 1], place, quality, middle=quality.get("difference"), values=values)
    labels = [f"{one['arm']} / {one['baseline']}" for one in comparisons]
    for axis, title, nothing in zip(
        axes[0],
        ("time of an update, ratio", f"validation {metric}, difference"),
        (1, 0),
        strict=True,
    ):
        axis.axvline(nothing, color="grey", linewidth=0.8)
        axis.set_yticks(range(len(labels)), labels)
        axis.set_ylim(-0.6, len(labels) - 0.4)
        axis.set_title(title, fontsize=9)
    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    plt.close(figure)
    return buffer.getvalue()


def _draw(
    axis: Any, place: int, figure: Found, *, middle: float | None, values: Sequence[float]
) -> None:
    axis.plot(values, [place + 0.15] * len(values), "o", markersize=3, alpha=0.6)
    if middle is not None:
        axis.plot([figure["low"], figure["high"]], [place] * 2, color="black", linewidth=1.5)
        axis.plot([middle], [place], "D", color="black", markersize=4)
