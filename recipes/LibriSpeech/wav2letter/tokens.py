"""Tokens of the acoustic models: their file, letters with repetition labels, and back to words.

The criterion of the letter recipes has no blank, so a doubled letter is written with a repetition
label: `1` repeats the letter before it once more, `2` twice ("hello" is `h e l 1 o`), since ASG
cannot tell `l l` from a long `l` (R. Collobert et al., "Wav2Letter", 2016,
https://arxiv.org/abs/1609.03193, section 3.1). Word pieces have no labels, and are joined.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from string import ascii_lowercase

from data_prepare.files import atomic_path

SEPARATOR = "|"
LETTERS = (SEPARATOR, "'", *ascii_lowercase)
REPLABEL = 2
MAX_REPLABEL = 9
TOKENS_NAME = "tokens.txt"


@dataclass(frozen=True)
class TokenSet:
    """The tokens of an acoustic model.

    Arguments
    ---------
    names : tuple[str, ...]
        In the order of the model's outputs.
    separator : str
        What parts words: "|" between letters; "_" at the beginning of word pieces.
    replabel : int
        Repetition labels "1", "2", ...; 0: none.

    Raises
    ------
    ValueError
        If a name is empty or comes twice, or a repetition label lacks.
    """

    names: tuple[str, ...]
    separator: str = SEPARATOR
    replabel: int = REPLABEL

    def __post_init__(self) -> None:
        wanted = labels(self.replabel)
        counts = Counter(self.names)
        faults = [f"{name!r} comes {count} times" for name, count in counts.items() if count > 1]
        faults += ["a name is empty"] if "" in counts else []
        faults += [f"repetition label {name!r} lacks" for name in set(wanted) - counts.keys()]
        if faults:
            raise ValueError(
                f"tokens: {'; '.join(sorted(faults))}; expected one name a line, each once, "
                "and the repetition labels among them; mend the file or replabel."
            )

    @classmethod
    def load(
        cls, path: str | Path, *, separator: str = SEPARATOR, replabel: int = REPLABEL
    ) -> TokenSet:
        """Read a file with one token a line.

        Arguments
        ---------
        path : str | Path
            The file; the number of a line is the index of its token.
        separator : str
            See the class.
        replabel : int
            See the class.

        Returns
        -------
        TokenSet
            The tokens.

        Raises
        ------
        FileNotFoundError
            If there is no file.
        ValueError
            If its lines are no tokens.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(
                f"tokens: {path} is missing; expected a file with one token a line; train.py "
                "writes it."
            )
        lines = Path(path).read_text(encoding="utf-8").split("\n")
        lines = lines[:-1] if lines[-1] == "" else lines
        try:
            return cls(tuple(lines), separator, replabel)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def save(self, path: Path) -> None:
        """Write the names, one a line."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            temporary.write_text("".join(f"{name}\n" for name in self.names), encoding="utf-8")

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def places(self) -> dict[str, int]:
        """The index of each name."""
        return {name: place for place, name in enumerate(self.names)}

    @cached_property
    def letters(self) -> frozenset[str]:
        """The names that words are spelled with: neither separator nor repetition label."""
        return frozenset(self.names) - {self.separator, *labels(self.replabel)}

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
        if name not in self.places:
            raise ValueError(
                f"tokens: {name!r} is none of the {len(self)} tokens ({' '.join(self.names[:8])} "
                "...); expected one of them."
            )
        return self.places[name]

    def words_of_path(self, path: Iterable[int]) -> list[str]:
        """Return the words of a path of one token a frame: equal neighbours are one."""
        return self.words(token for token, _ in groupby(path))

    def words(self, tokens: Iterable[int]) -> list[str]:
        """Return the words of a row of tokens, repetitions written out; none is empty."""
        names = unpack((self.names[int(token)] for token in tokens), self.replabel)
        return [word for word in "".join(names).split(self.separator) if word]

    def spell(self, word: str) -> list[int] | None:
        """Return the letters of a word with repetition labels; None if a letter is no token.

        Arguments
        ---------
        word : str
            Such as "hello".

        Returns
        -------
        list[int] | None
            Indexes, without the separator.
        """
        if not self.letters.issuperset(word):
            return None
        return [self.places[name] for name in pack(word, self.replabel)]


def labels(replabel: int) -> list[str]:
    """Return the names of the labels 1 to ``replabel``."""
    return [str(number) for number in range(1, replabel + 1)]


def letter_tokens(replabel: int = REPLABEL) -> TokenSet:
    """Return separator, apostrophe, a to z, and the labels 1 to ``replabel``.

    Arguments
    ---------
    replabel : int
        Repetition labels.

    Returns
    -------
    TokenSet
        The tokens of the letter recipes; 30 with two labels.

    Raises
    ------
    ValueError
        If the number of labels is out of range.
    """
    if not 0 <= replabel <= MAX_REPLABEL:
        raise ValueError(
            f"letters: replabel is {replabel}; expected 0 to {MAX_REPLABEL}; the recipes use 2."
        )
    return TokenSet((*LETTERS, *labels(replabel)), replabel=replabel)


def pack(tokens: Sequence[str], replabel: int) -> list[str]:
    """Replace repetitions by labels, equal neighbours that remain by one of them.

    Arguments
    ---------
    tokens : Sequence[str]
        A word, or names of tokens.
    replabel : int
        Most repetitions that one label stands for.

    Returns
    -------
    list[str]
        `x x x` becomes `x 2`; four `x` become `x 2 x` with two labels, and `x` without any.
    """
    packed: list[str] = []
    for token, run in groupby(tokens):
        left = sum(1 for _ in run)
        while left > 0:
            taken = min(left, replabel + 1)
            packed += [token] if taken == 1 else [token, str(taken - 1)]
            left -= taken
    return [token for token, _ in groupby(packed)]


def unpack(tokens: Iterable[str], replabel: int) -> list[str]:
    """Undo `pack`; a label at the start or after another label stands for nothing."""
    counts = {name: number for number, name in enumerate(labels(replabel), 1)}
    plain: list[str] = []
    was_label = True
    for token in tokens:
        count = counts.get(token)
        if count is None:
            plain.append(token)
        elif not was_label:
            plain += [plain[-1]] * count
        was_label = count is not None
    return plain
