"""Letters as tokens, with labels that stand for repetitions, since the criterion has no blank.

`hello world` becomes `| h e l 1 o | w o r l d |`: `|` between words and, as `surround`, at both
ends; `1` and `2` say that the token before them comes once or twice more. ASG cannot tell `l l`
from a long `l` (Collobert et al. 2016, https://arxiv.org/abs/1609.03193, section 3.1).
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from string import ascii_lowercase
from typing import Any, Literal

import torch

from data_prepare.files import atomic_path
from data_prepare.storage import Storage
from recipes.common.text import APOSTROPHES

SEPARATOR = "|"
LETTERS = (SEPARATOR, "'", *ascii_lowercase)
TOKENS_NAME = "tokens.txt"
MAX_REPLABEL = 9


def letter_tokens(replabel: int) -> list[str]:
    """Return separator, apostrophe, a to z, and the labels 1 to ``replabel``."""
    if not 0 <= replabel <= MAX_REPLABEL:
        raise ValueError(
            f"letters: replabel is {replabel}; expected 0 to {MAX_REPLABEL}; the recipes use 2."
        )
    return [*LETTERS, *(str(number) for number in range(1, replabel + 1))]


def write_letters(
    folders: Sequence[str | Path | Storage], out_folder: str | Path, *, replabel: int = 2
) -> Path:
    """Write tokens.txt, one token a line; call it on the main process only.

    Arguments
    ---------
    folders : Sequence[str | Path | Storage]
        Prepared splits; letters do not depend on them.
    out_folder : str | Path
        Gets tokens.txt.
    replabel : int
        Labels for repetitions.

    Returns
    -------
    Path
        The out_folder.

    Raises
    ------
    ValueError
        If another list of tokens is there.
    """
    del folders
    path = Path(out_folder) / TOKENS_NAME
    text = "".join(f"{token}\n" for token in letter_tokens(replabel))
    if path.is_file() and path.read_text(encoding="utf-8") != text:
        raise ValueError(
            f"letters: {path} holds other tokens than those for replabel = {replabel}; expected "
            "the same; give another folder, or delete it."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Path(out_folder)


def read_tokens(path: Path) -> list[str]:
    """Return the tokens of a token file: one a line, its number is the token's index.

    Arguments
    ---------
    path : Path
        The file.

    Returns
    -------
    list of str
        Tokens in order.

    Raises
    ------
    FileNotFoundError
        If there is no file.
    ValueError
        If a token is empty or comes twice.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"tokens: {path} is missing; expected a file with one token a line; train.py writes it."
        )
    tokens = path.read_text(encoding="utf-8").split("\n")
    tokens = tokens[:-1] if tokens[-1] == "" else tokens
    if "" in tokens or len(set(tokens)) != len(tokens):
        twice = sorted({token for token in tokens if tokens.count(token) > 1})
        raise ValueError(
            f"tokens: {path} has empty or repeated lines {twice[:5]}; expected one token a line."
        )
    return tokens


def pack(tokens: Sequence[str], replabel: int) -> list[str]:
    """Replace repetitions by labels: `x x x` to `x 2`; four `x` to `x 2 x` if replabel is 2."""
    packed: list[str] = []
    for token, run in groupby(tokens):
        left = sum(1 for _ in run)
        while left > 0:
            taken = min(left, replabel + 1)
            packed += [token] if taken == 1 else [token, str(taken - 1)]
            left -= taken
    return [token for token, _ in groupby(packed)]


def unpack(tokens: Iterable[str], replabel: int) -> list[str]:
    """Undo `pack`; a label at the start or after another label is left out."""
    labels = {str(number): number for number in range(1, replabel + 1)}
    plain: list[str] = []
    was_label = True
    for token in tokens:
        count = labels.get(token)
        if count is None:
            plain.append(token)
        elif not was_label:
            plain += [plain[-1]] * count
        was_label = count is not None
    return plain


class LetterTokenizer:
    """Turns texts into letters and paths of frames back into texts.

    Loads its file when first used, so it may be made before it is.

    Arguments
    ---------
    folder : str | Path
        Where `write_letters` wrote to.
    replabel : int
        Labels for repetitions.
    surround : str
        Token at both ends of each target; "" for none.
    case : Literal["upper", "lower"]
        Of the texts that come back, as the corpus has them.
    unknown : Literal["error", "drop"]
        What becomes of characters that are no token.
    num_tokens : int | None
        Number of tokens that the model expects.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        replabel: int = 2,
        surround: str = SEPARATOR,
        case: Literal["upper", "lower"] = "upper",
        unknown: Literal["error", "drop"] = "error",
        num_tokens: int | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.replabel, self.surround = replabel, surround
        self.case, self.unknown = case, unknown
        self.num_tokens = num_tokens
        self._indexes: dict[str, int] = {}

    def __len__(self) -> int:
        """Return the number of tokens."""
        return len(self._loaded())

    @property
    def tokens(self) -> list[str]:
        """The tokens, in the order of their numbers."""
        return list(self._loaded())

    def encode(self, text: str) -> list[int]:
        """Return the target of a text.

        Arguments
        ---------
        text : str
            Words; capitals are the same as small letters.

        Returns
        -------
        list of int
            Token indexes, no two neighbours equal.

        Raises
        ------
        ValueError
            If the text has characters that are no token.
        """
        indexes = self._loaded()
        words = text.translate(APOSTROPHES).lower().split()
        odd = sorted({c for word in words for c in word if c not in LETTERS[1:]})
        if odd and self.unknown == "error":
            raise ValueError(
                f"letters: the text {text!r:.80} has {odd}; expected a to z and the apostrophe; "
                "prepare the corpus with such texts, or set unknown to drop."
            )
        spelled = SEPARATOR.join(
            kept for word in words if (kept := "".join(c for c in word if c not in odd))
        )
        ends = [self.surround] if self.surround else []
        return [indexes[token] for token in pack([*ends, *spelled, *ends], self.replabel)]

    def decode(self, paths: Iterable[Iterable[int]]) -> list[str]:
        """Return the texts of token sequences, one token a frame or already collapsed."""
        tokens = self.tokens
        texts = []
        for path in paths:
            collapsed = [tokens[int(index)] for index, _ in groupby(path)]
            text = "".join(unpack(collapsed, self.replabel)).replace(SEPARATOR, " ")
            texts.append(" ".join(text.split()))
        return [text.upper() for text in texts] if self.case == "upper" else texts

    def _loaded(self) -> dict[str, int]:
        if not self._indexes:
            tokens = read_tokens(self.folder / TOKENS_NAME)
            wanted = letter_tokens(self.replabel)
            if tokens != wanted or self.num_tokens not in (None, len(tokens)):
                raise ValueError(
                    f"letters: {self.folder / TOKENS_NAME} has {len(tokens)} tokens; expected the "
                    f"{len(wanted)} letters for replabel = {self.replabel}, and num_tokens = "
                    f"{self.num_tokens} as the model has; give another folder."
                )
            self._indexes = {token: index for index, token in enumerate(tokens)}
        return self._indexes


class TargetEncoder:
    """Transform for the loader: adds `tokens` [L] int64, the target of an utterance.

    Arguments
    ---------
    tokenizer : LetterTokenizer
        Encodes the utterance's `text`.
    """

    def __init__(self, tokenizer: LetterTokenizer) -> None:
        self.tokenizer = tokenizer

    def __call__(self, example: dict[str, Any]) -> dict[str, Any]:
        """Return the utterance's dict with its target."""
        target = self.tokenizer.encode(example["text"])
        return {**example, "tokens": torch.tensor(target, dtype=torch.int64)}
