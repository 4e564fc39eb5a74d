"""Letters as tokens: targets of texts, and texts of paths.

`hello world` becomes `| h e l 1 o | w o r l d |`: `|` between words and, as `surround`, at both
ends; labels stand for repetitions, see `recipes.LibriSpeech.wav2letter.tokens`.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from data_prepare.storage import Storage
from recipes.common.text import APOSTROPHES
from recipes.LibriSpeech.wav2letter.tokens import (
    LETTERS,
    REPLABEL,
    SEPARATOR,
    TOKENS_NAME,
    TokenSet,
    letter_tokens,
    pack,
)


def write_letters(
    folders: Sequence[str | Path | Storage], out_folder: str | Path, *, replabel: int = REPLABEL
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
    path, tokens = Path(out_folder) / TOKENS_NAME, letter_tokens(replabel)
    if path.is_file() and TokenSet.load(path, replabel=0).names != tokens.names:
        raise ValueError(
            f"letters: {path} holds other tokens than those for replabel = {replabel}; expected "
            "the same; give another folder, or delete it."
        )
    tokens.save(path)
    return Path(out_folder)


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
        replabel: int = REPLABEL,
        surround: str = SEPARATOR,
        case: Literal["upper", "lower"] = "upper",
        unknown: Literal["error", "drop"] = "error",
        num_tokens: int | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.replabel, self.surround = replabel, surround
        self.case, self.unknown = case, unknown
        self.num_tokens = num_tokens
        self._tokens: TokenSet | None = None

    def __len__(self) -> int:
        """Return the number of tokens."""
        return len(self._loaded())

    @property
    def tokens(self) -> list[str]:
        """The tokens, in the order of their numbers."""
        return list(self._loaded().names)

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
        places = self._loaded().places
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
        return [places[token] for token in pack([*ends, *spelled, *ends], self.replabel)]

    def decode(self, paths: Iterable[Iterable[int]]) -> list[str]:
        """Return the texts of token sequences, one token a frame or already collapsed."""
        tokens = self._loaded()
        texts = [" ".join(tokens.words_of_path(map(int, path))) for path in paths]
        return [text.upper() for text in texts] if self.case == "upper" else texts

    def _loaded(self) -> TokenSet:
        if self._tokens is None:
            path, wanted = self.folder / TOKENS_NAME, letter_tokens(self.replabel)
            found = TokenSet.load(path, replabel=0)
            if found.names != wanted.names or self.num_tokens not in (None, len(found)):
                raise ValueError(
                    f"letters: {path} has {len(found)} tokens; expected the {len(wanted)} letters "
                    f"for replabel = {self.replabel}, and num_tokens = {self.num_tokens} as the "
                    "model has; give another folder."
                )
            self._tokens = wanted
        return self._tokens


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
