"""Emissions on disk: the network is run once, and decoded with as many weights as one likes.

A set is a folder with `emissions.npy` [sum of T, V] float32, `transitions.npy` [V, V] (to, from),
and `utterances.json`, written last: for each utterance its id, text, category and number of frames.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch import Tensor

from data_prepare.files import atomic_path, write_json

EMISSIONS_NAME, TRANSITIONS_NAME, TEXTS_NAME = (
    "emissions.npy",
    "transitions.npy",
    "utterances.json",
)
FORMAT = "stampede-emissions-1"
_PART_NAME = ".emissions.part"


@dataclass(frozen=True)
class Heard:
    """One utterance of a set.

    Arguments
    ---------
    id : str
        Its name.
    text : str
        What was said.
    category : str
        Facets joined by slashes, or "".
    num_frames : int
        T.
    """

    id: str
    text: str
    category: str
    num_frames: int


class EmissionWriter:
    """Writes a set, one utterance after the other; use it in a with block.

    Arguments
    ---------
    folder : str | Path
        Of the set; made if absent.
    transitions : Tensor
        [V, V] of the criterion, [to, from].
    """

    def __init__(self, folder: str | Path, transitions: Tensor) -> None:
        self.folder = Path(folder)
        self._transitions = transitions.detach().float().cpu().numpy()
        self._heard: list[Heard] = []

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / TEXTS_NAME).unlink(missing_ok=True)
        self._file = (self.folder / _PART_NAME).open("wb")
        return self

    def add(self, heard: Heard, emissions: Tensor) -> None:
        """Add an utterance.

        Arguments
        ---------
        heard : Heard
            The utterance.
        emissions : Tensor
            [T, V] scores.

        Raises
        ------
        ValueError
            If the shape does not fit.
        """
        shape = (heard.num_frames, len(self._transitions))
        if tuple(emissions.shape) != shape:
            raise ValueError(
                f"emissions of {heard.id}: are {tuple(emissions.shape)}; expected {shape}."
            )
        self._file.write(emissions.detach().float().cpu().numpy().tobytes())
        self._heard.append(heard)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        part = self.folder / _PART_NAME
        if error is None:
            self._finish(part)
        part.unlink()

    def _finish(self, part: Path) -> None:
        size = len(self._transitions)
        total = sum(heard.num_frames for heard in self._heard)
        with atomic_path(self.folder / EMISSIONS_NAME) as path:
            out = open_memmap(path, mode="w+", dtype=np.float32, shape=(total, size))
            if total:
                out[:] = np.memmap(part, np.float32, mode="r", shape=(total, size))
            out.flush()
            del out
        with atomic_path(self.folder / TRANSITIONS_NAME) as path, path.open("wb") as file:
            np.save(file, self._transitions, allow_pickle=False)
        rows = [asdict(heard) for heard in self._heard]
        write_json(self.folder / TEXTS_NAME, {"format": FORMAT, "utterances": rows})


class EmissionSet:
    """A set that was written; small when pickled.

    Arguments
    ---------
    folder : str | Path
        Of the set.

    Raises
    ------
    FileNotFoundError
        If there is none, or its writing did not end.
    ValueError
        If its files do not fit each other.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        path = self.folder / TEXTS_NAME
        if not path.is_file():
            raise FileNotFoundError(
                f"emissions: {path} is absent; expected a finished set of emissions; run decode.py "
                "with a run_file, which makes it."
            )
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        self.utterances = [Heard(**row) for row in content.get("utterances", ())]
        self.transitions = torch.from_numpy(np.load(self.folder / TRANSITIONS_NAME))
        counts = [heard.num_frames for heard in self.utterances]
        self._ends = np.cumsum([0, *counts])
        shape = self._frames().shape
        if content.get("format") != FORMAT or shape != (self._ends[-1], len(self.transitions)):
            raise ValueError(
                f"emissions {self.folder}: format {content.get('format')!r}, {shape} frames and "
                f"tokens; expected {FORMAT!r} and {(int(self._ends[-1]), len(self.transitions))}; "
                "delete the folder and make it again."
            )

    def __len__(self) -> int:
        return len(self.utterances)

    def emissions(self, number: int) -> Tensor:
        """Return the scores of an utterance, [T, V].

        Arguments
        ---------
        number : int
            Its place in `utterances`.

        Returns
        -------
        Tensor
            A copy.
        """
        part = self._frames()[self._ends[number] : self._ends[number + 1]]
        return torch.from_numpy(np.array(part))

    def _frames(self) -> Any:
        return np.load(self.folder / EMISSIONS_NAME, mmap_mode="r")


def sets_in(folder: str | Path) -> Iterator[tuple[str, Path]]:
    """Yield name and folder of the finished sets below a folder, in order."""
    root = Path(folder)
    for path in sorted(root.rglob(TEXTS_NAME)):
        yield path.parent.relative_to(root).as_posix(), path.parent
