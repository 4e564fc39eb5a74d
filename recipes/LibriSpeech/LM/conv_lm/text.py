"""Text of a language model: its words as numbers, in a file that is mapped, cut into examples."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prepare.files import atomic_path, write_json
from recipes.LibriSpeech.wav2letter.tokens import letter_tokens

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
PAD, END, UNKNOWN = 1, 2, 3
FORMAT = "stampede-lm-text-1"
_LINES_AT_ONCE = 10_000
_MULTIPLE = 8


@dataclass(frozen=True)
class Vocabulary:
    """Words by number: four special ones, then those of a file, filled up to a multiple of 8.

    Arguments
    ---------
    path : Path
        One word a line: the token file of an acoustic model, or words in order of frequency.
    """

    path: Path

    @property
    def names(self) -> list[str]:
        """The words of the file, the first of which has the number 4."""
        lines = Path(self.path).read_text(encoding="utf-8").splitlines()
        names = [line.split()[0] for line in lines if line.strip()]
        return [name for name in names if name not in SPECIAL]

    def numbers(self) -> dict[str, int]:
        """Return the number of each word."""
        return {name: len(SPECIAL) + place for place, name in enumerate(self.names)}

    def size(self) -> int:
        """Return how many numbers there are, the unused ones included."""
        return -(-(len(SPECIAL) + len(self.names)) // _MULTIPLE) * _MULTIPLE


def write_letters(folders: Sequence[Any], path: str | Path) -> None:
    """Write the token file of the letter recipes, unless there is one.

    Arguments
    ---------
    folders : Sequence[Any]
        Prepared splits; letters do not depend on them.
    path : str | Path
        One token a line.
    """
    del folders
    if not Path(path).is_file():
        letter_tokens().save(Path(path))


@dataclass(frozen=True, eq=False)
class EncodedText:
    """Sentences as numbers, each with the end of a sentence last.

    Arguments
    ---------
    words : NDArray[np.int32]
        [M], mapped.
    ends : NDArray[np.int64]
        [S] place after the last word of each sentence.
    """

    words: NDArray[np.int32]
    ends: NDArray[np.int64]

    def examples(self, max_words: int) -> NDArray[np.int64]:
        """Return first and last (exclusive) place of each example, [E, 2].

        An example is as many whole sentences as fit; a longer sentence is cut.

        Arguments
        ---------
        max_words : int
            Of an example.

        Returns
        -------
        NDArray[np.int64]
            Together all words, in order.
        """
        cuts = [0]
        for first, last in zip(np.r_[0, self.ends[:-1]].tolist(), self.ends.tolist(), strict=True):
            if last - cuts[-1] > max_words and first > cuts[-1]:
                cuts.append(first)
            while last - cuts[-1] > max_words:
                cuts.append(cuts[-1] + max_words)
        if cuts[-1] < len(self.words):
            cuts.append(len(self.words))
        return np.stack([cuts[:-1], cuts[1:]], axis=1).astype(np.int64).reshape(-1, 2)


def encode(
    sentences: Callable[[], Iterable[str]],
    folder: Path,
    *,
    vocabulary: Vocabulary,
    stamp: str,
) -> EncodedText:
    """Encode sentences into a folder, or find them there.

    Arguments
    ---------
    sentences : Callable[[], Iterable[str]]
        Returns them: words parted by blanks.
    folder : Path
        Gets words.bin, ends.npy and, last, text.json.
    vocabulary : Vocabulary
        Of the model; other words are unknown.
    stamp : str
        Names the text; what has another stamp or vocabulary is encoded again.

    Returns
    -------
    EncodedText
        The text.

    Raises
    ------
    ValueError
        If there is no sentence.
    """
    wanted = {"format": FORMAT, "stamp": stamp, "words": vocabulary.names}
    info = folder / "text.json"
    found = json.loads(info.read_text(encoding="utf-8")) if info.is_file() else None
    if found != wanted:
        folder.mkdir(parents=True, exist_ok=True)
        info.unlink(missing_ok=True)
        ends = _write(sentences(), folder / "words.bin", vocabulary.numbers())
        if not ends:
            raise ValueError(f"lm text {stamp}: has no sentence; expected some; mend its path.")
        with atomic_path(folder / "ends.npy") as path, path.open("wb") as file:
            np.save(file, np.array(ends, np.int64), allow_pickle=False)
        write_json(info, wanted)
    words = np.memmap(folder / "words.bin", np.int32, mode="r")
    return EncodedText(words, np.load(folder / "ends.npy"))


def _write(sentences: Iterable[str], path: Path, numbers: dict[str, int]) -> list[int]:
    """Write the words of all sentences; return the place after each."""
    ends: list[int] = []
    place = 0
    rows = _rows(sentences, numbers)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        while part := list(islice(rows, _LINES_AT_ONCE)):
            file.write(np.concatenate(part).astype(np.int32).tobytes())
            for row in part:
                place += len(row)
                ends.append(place)
    return ends


def _rows(sentences: Iterable[str], numbers: dict[str, int]) -> Iterator[Sequence[int]]:
    for sentence in sentences:
        if words := sentence.split():
            yield [*(numbers.get(word, UNKNOWN) for word in words), END]
