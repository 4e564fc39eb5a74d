"""Tokens of the acoustic model: their file, and the way from a path of tokens to words.

The criterion has no blank, so a doubled letter is written with a repetition token: `1` repeats the
letter before it once more, `2` twice ("hello" is `h e l 1 o`). R. Collobert et al., "Wav2Letter",
2016, section 2.3. Word pieces have none, and are joined.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path


@dataclass(frozen=True)
class TokenSet:
    """The tokens of an acoustic model.

    Arguments
    ---------
    names : tuple[str, ...]
        In the order of the model's outputs.
    separator : str
        What parts words: "|" between letters; "_" at the beginning of word pieces.
    num_replabels : int
        Repetition tokens "1", "2", ...; 0: none.

    Raises
    ------
    ValueError
        If a name comes twice, or a repetition token lacks.
    """

    names: tuple[str, ...]
    separator: str = "|"
    num_replabels: int = 2

    def __post_init__(self) -> None:
        wanted = [str(number) for number in range(1, self.num_replabels + 1)]
        counts = Counter(self.names)
        faults = [f"{name!r} comes {count} times" for name, count in counts.items() if count > 1]
        faults += [f"repetition token {name!r} lacks" for name in set(wanted) - counts.keys()]
        if faults:
            raise ValueError(
                f"tokens: {'; '.join(sorted(faults))}; expected one name a line, each once, "
                "and the repetition tokens among them; mend the file or num_replabels."
            )

    @classmethod
    def load(cls, path: str | Path, *, separator: str = "|", num_replabels: int = 2) -> TokenSet:
        """Read a file with one token a line.

        Arguments
        ---------
        path : str | Path
            The file; the number of a line is the index of its token.
        separator : str
            See the class.
        num_replabels : int
            See the class.

        Returns
        -------
        TokenSet
            The tokens.
        """
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        return cls(tuple(lines), separator, num_replabels)

    def __len__(self) -> int:
        return len(self.names)

    def index(self, name: str) -> int:
        """Return the index of a token.

        Arguments
        ---------
        name : str
            The token.

        Returns
        -------
        int
            Its index.

        Raises
        ------
        ValueError
            If there is no such token.
        """
        if name not in self.names:
            raise ValueError(
                f"tokens: {name!r} is none of the {len(self)} tokens ({' '.join(self.names[:8])} "
                "...); expected one of them."
            )
        return self.names.index(name)

    def words_of_path(self, path: Iterable[int]) -> list[str]:
        """Return the words of a path of one token a frame: equal neighbours are one."""
        return self.words(token for token, _ in groupby(path))

    def words(self, tokens: Iterable[int]) -> list[str]:
        """Return the words of a row of tokens, repetitions written out.

        A repetition token at the start, or after another one, stands for nothing.

        Arguments
        ---------
        tokens : Iterable[int]
            Indexes.

        Returns
        -------
        list[str]
            The words; none is empty.
        """
        names: list[str] = []
        can_repeat = False
        for token in tokens:
            name = self.names[token]
            if self._repetitions(name):
                names += names[-1:] * (self._repetitions(name) if can_repeat else 0)
                can_repeat = False
            else:
                names.append(name)
                can_repeat = True
        return [word for word in "".join(names).split(self.separator) if word]

    def spell(self, word: str) -> list[int] | None:
        """Return the letters of a word with repetition tokens; None if a letter is no token.

        Arguments
        ---------
        word : str
            Such as "hello".

        Returns
        -------
        list[int] | None
            Indexes, without the separator.
        """
        if any(letter not in self.names or self._repetitions(letter) for letter in word):
            return None
        return [self.names.index(name) for name in pack(word, self.num_replabels)]

    def _repetitions(self, name: str) -> int:
        is_one = name.isdecimal() and 1 <= int(name) <= self.num_replabels
        return int(name) if is_one else 0


def pack(letters: Sequence[str], num_replabels: int) -> list[str]:
    """Return letters with their repetitions replaced: four x are `x 2 x`.

    Arguments
    ---------
    letters : Sequence[str]
        A word, or names of tokens.
    num_replabels : int
        Most repetitions that one token can stand for.

    Returns
    -------
    list[str]
        Names of tokens.
    """
    packed: list[str] = []
    for letter, run in groupby(letters):
        left = len(list(run))
        while left:
            packed.append(letter)
            repeated = min(left - 1, num_replabels)
            packed += [str(repeated)] if repeated else []
            left -= 1 + repeated
    return packed
