"""The unit of work: a folder of a corpus that is made at once, whatever process makes it."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_prepare.synthetic.options import Options
from data_prepare.synthetic.speech import SpeakingProcess


@dataclass(frozen=True, slots=True)
class Unit:
    """A folder to be made.

    Arguments
    ---------
    layout : str
        Of `data_prepare.synthetic.options.LAYOUTS`.
    index : int
        Number in its layout, from 0.
    place : str
        Folder below the layout's folder, e.g. ``1000001`` or ``dev-clean/84``.
    seconds : float
        Wanted length.
    kind : str
        Part of the corpus or kind of dirt; the layout knows.
    """

    layout: str
    index: int
    place: str
    seconds: float
    kind: str = ""

    def rng(self, seed: int) -> np.random.Generator:
        """Give the unit's own source of choices."""
        return np.random.default_rng([seed, *self.layout.encode(), self.index])


Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Layout:
    """How one corpus is cut into units, and made.

    Arguments
    ---------
    plan : callable
        Options -> all units.
    make : callable
        Unit, new empty folder, options, speaking process -> record with at least ``seconds``.
    finish : callable
        Folder of the layout, records in the order of the units -> truth.
    """

    plan: Callable[[Options], list[Unit]]
    make: Callable[[Unit, Path, Options, SpeakingProcess], Record]
    finish: Callable[[Path, Iterable[Record]], Record]


def share_out(seconds: float, *, per_unit_s: float, at_least: int) -> list[float]:
    """Cut a length into equal units of about a wanted length, at least some number of them."""
    num_units = max(at_least, round(seconds / per_unit_s))
    return [seconds / num_units] * num_units


def digest(*parts: object) -> str:
    """Give 32 hexadecimal digits that depend on all parts."""
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()[:32]


def write_lines(path: Path, lines: Sequence[str]) -> None:
    """Write UTF-8 lines that end with a line feed on every system."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
