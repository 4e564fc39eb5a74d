"""Count what was prepared: summary.json and summary.png."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from data_prepare.files import atomic_path
from data_prepare.index import ShardIndex

_HOUR_S = 3600.0
_NUM_BINS = 60


def summarise_split(index: ShardIndex) -> tuple[dict[str, Any], set[str]]:
    """Return the figures of a split, and its speakers.

    Arguments
    ---------
    index : ShardIndex
        The finished split.

    Returns
    -------
    tuple[dict, set[str]]
        Counts, hours, hours by category, durations; names of the speakers.
    """
    seconds = index.utterances["num_samples"] / index.rate_hz
    speakers: defaultdict[str, set[str]] = defaultdict(set)
    groups = set()
    for text in index.texts():
        groups.add(text["group"])
        if text["speaker"]:
            speakers[text["category"]].add(text["speaker"])
    everybody = set().union(*speakers.values())
    figures = {
        "num_utterances": index.num_utterances,
        "hours": _hours(seconds.sum()),
        "num_shards": len(index.shards),
        "num_bytes": sum(shard.num_bytes for shard in index.shards),
        "num_groups": len(groups),
        "num_speakers": len(everybody),
        "by_category": {
            name: {
                "num_utterances": int((index.utterances["category"] == number).sum()),
                "hours": _hours(seconds[index.utterances["category"] == number].sum()),
                "num_speakers": len(speakers[name]),
            }
            for number, name in enumerate(index.categories)
        },
        "duration_s": _durations(seconds),
    }
    return figures, everybody


def draw_summary(path: Path, summary: dict[str, Any], indexes: list[ShardIndex]) -> None:
    """Draw the distribution of durations, hours by category and speaker counts.

    Arguments
    ---------
    path : Path
        The PNG file.
    summary : dict[str, Any]
        Content of summary.json.
    indexes : list[ShardIndex]
        The finished splits.
    """
    figure = Figure(figsize=(15, 5))
    FigureCanvasAgg(figure)
    figure.subplots_adjust(left=0.05, right=0.99, bottom=0.15, wspace=0.15)
    durations, hours, speakers = figure.subplots(1, 3)
    for index in indexes:
        seconds = index.utterances["num_samples"] / index.rate_hz
        weights = np.full(len(seconds), 1.0 / max(1, len(seconds)))
        durations.hist(seconds, _NUM_BINS, weights=weights, histtype="step", label=index.split)
    durations.set(xlabel="duration in seconds", ylabel="share of utterances", title="Durations")
    durations.legend()
    _draw_bars(hours, summary, "hours", title="Hours by category")
    _draw_bars(speakers, summary, "num_speakers", title="Speakers by category")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100, metadata={"Software": None})


def describe(summary: dict[str, Any]) -> str:
    """Return the summary as lines for the screen."""
    lines = []
    for split, figures in summary["splits"].items():
        lines.append(
            f"{split}: {figures['num_utterances']} utterances, {figures['hours']:.3f} h, "
            f"{figures['num_speakers']} speakers, {figures['num_shards']} shards"
        )
        lines += [
            f"  {name or 'no category'}: {part['num_utterances']} utterances, "
            f"{part['hours']:.3f} h, {part['num_speakers']} speakers"
            for name, part in figures["by_category"].items()
        ]
    for title, key in (("rejected", "rejected"), ("left out by choice", "left_out")):
        reasons = ", ".join(f"{reason} {count}" for reason, count in summary[key].items())
        lines.append(f"{title}: {sum(summary[key].values())} ({reasons or 'nothing'})")
    lines += summary["notes"]
    return "\n".join(lines)


def _draw_bars(axes: Any, summary: dict[str, Any], value: str, *, title: str) -> None:
    splits = summary["splits"]
    names = sorted({name for figures in splits.values() for name in figures["by_category"]})
    bottom = np.zeros(len(names))
    for split, figures in splits.items():
        parts = figures["by_category"]
        heights = np.array([parts[name][value] if name in parts else 0 for name in names])
        axes.bar(range(len(names)), heights, bottom=bottom, label=split)
        bottom += heights
    axes.set_xticks(range(len(names)), [name or "all" for name in names], rotation=20, ha="right")
    axes.set(title=title)
    axes.legend()


def _durations(seconds: npt.NDArray[np.float64]) -> dict[str, float]:
    if not len(seconds):
        return {}
    names = ("min", "p05", "median", "p95", "max")
    values = np.percentile(seconds, (0, 5, 50, 95, 100)).tolist()
    return {name: round(value, 3) for name, value in zip(names, values, strict=True)} | {
        "mean": round(float(seconds.mean()), 3)
    }


def _hours(seconds: float) -> float:
    return round(float(seconds) / _HOUR_S, 6)
