"""Tokens: a SentencePiece model trained on the text of a corpus, and what uses it.

Special tokens have distinct places: padding and CTC blank 0, unknown 1, start 2, end 3. Or, with
`specials: unknown`, there is the unknown one alone, 0.
SentencePiece: Kudo and Richardson 2018, https://arxiv.org/abs/1808.06226
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import sentencepiece
import torch
from torch import Tensor

from data_prepare.files import file_sha256
from data_prepare.storage import Storage
from recipes.common.tokenizer_training import (
    BOS_INDEX,
    EOS_INDEX,
    INFO_NAME,
    MODEL_NAME,
    PAD_INDEX,
    TokenizerOptions,
    normalise,
    read_info,
    train,
)


def train_tokenizer(  # noqa: PLR0913 - the options of a YAML block, all by keyword
    folders: Sequence[str | Path | Storage],
    out_folder: str | Path,
    *,
    vocab_size: int,
    model_type: Literal["bpe", "unigram", "char"] = "bpe",
    character_coverage: float = 1.0,
    text: Literal["raw", "upper", "lower"] = "raw",
    max_texts: int | None = 1_000_000,
    field: str = "text",
    symbols: Sequence[str] = (),
    specials: Literal["four", "unknown"] = "four",
    overwrite: bool = False,
) -> Path:
    """Train a tokenizer on the texts of prepared splits, or find it trained already.

    Call it on the main process only. Equal texts and options give an equal `tokenizer.model`,
    byte for byte; `tokenizer.json`, written last, says what it was made of.

    Arguments
    ---------
    folders : Sequence[str | Path | Storage]
        Folders of splits, with their index.json: the training data, never test data.
    out_folder : str | Path
        Gets tokenizer.model and tokenizer.json.
    vocab_size : int
        Number of tokens, the special ones included.
    model_type : Literal["bpe", "unigram", "char"]
        "bpe", "unigram" or "char".
    character_coverage : float
        Share of the text's characters that get tokens; rarer ones are unknown.
    text : Literal["raw", "upper", "lower"]
        "raw" (single spaces, else as written), or that in "upper" or "lower" case.
    max_texts : int | None
        At most so many texts are used, evenly taken.
    field : str
        Which text of an utterance: "text", or the name of one of its notes.
    symbols : Sequence[str]
        Words that get a token each, whatever the texts; they follow the special tokens.
    specials : Literal["four", "unknown"]
        "four" for :class:`Tokenizer`; "unknown": none but the unknown token, 0.
    overwrite : bool
        Replace a tokenizer that was made of other texts or options.

    Returns
    -------
    Path
        The out_folder.

    Raises
    ------
    ValueError
        If a tokenizer of other texts or options is there, or the vocabulary size is impossible
        for the texts.
    """
    options = TokenizerOptions(
        model_type=model_type,
        vocab_size=vocab_size,
        character_coverage=character_coverage,
        text=text,
        max_texts=max_texts,
        field=field,
        symbols=tuple(symbols),
        specials=specials,
    )
    train(folders, Path(out_folder), options=options, overwrite=overwrite)
    return Path(out_folder)


class PieceTokenizer:
    """Turns texts into the pieces of a SentencePiece model and back.

    Loads its files when first used, so it may be made before they are; pickles as its folder.

    Arguments
    ---------
    folder : str | Path
        Where `train_tokenizer` wrote to.
    vocab_size : int | None
        Number of tokens that the model expects.
    """

    specials: ClassVar[str] = "unknown"
    left_out: ClassVar[frozenset[int]] = frozenset()
    """Tokens that stand for no text."""

    def __init__(self, folder: str | Path, *, vocab_size: int | None = None):
        self.folder = Path(folder)
        self.vocab_size = vocab_size
        self._loaded: Any = None
        self._text: str = ""

    def __len__(self) -> int:
        """Return the number of tokens, the special ones included."""
        return int(self._processor().get_piece_size())

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_loaded": None}

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text, without start and end."""
        processor = self._processor()
        ids: list[int] = processor.encode(normalise(text, self._text))
        return ids

    def decode(self, ids: Iterable[Iterable[int]]) -> list[str]:
        """Return the texts of token lists; padding, start and end tokens are left out."""
        kept = [[int(i) for i in row if int(i) not in self.left_out] for row in ids]
        texts: list[str] = self._processor().decode(kept) if kept else []
        return texts

    def pieces(self) -> list[str]:
        """Return the text of every token, in the order of their numbers."""
        processor = self._processor()
        return [processor.id_to_piece(i) for i in range(len(self))]

    def _processor(self) -> Any:
        if self._loaded is None:
            self._loaded = self._load()
        return self._loaded

    def _load(self) -> Any:
        info = read_info(self.folder)
        if info is None:
            raise FileNotFoundError(
                f"tokenizer: {self.folder / INFO_NAME} is missing; expected a trained tokenizer; "
                "run tokenizer_train.py."
            )
        path = self.folder / MODEL_NAME
        if not path.is_file() or file_sha256(path) != info["model_sha256"]:
            raise ValueError(
                f"tokenizer: {path} is missing or not the file that {INFO_NAME} describes; "
                "expected both from one training; train it again with overwrite."
            )
        if self.vocab_size not in (None, info["vocab_size"]):
            raise ValueError(
                f"tokenizer {self.folder}: has {info['vocab_size']} tokens; expected "
                f"{self.vocab_size} as the model has; give another folder or vocab_size."
            )
        specials = info["options"].get("specials", "four")
        if specials != self.specials:
            raise ValueError(
                f"tokenizer {self.folder}: has special tokens {specials!r}; expected "
                f"{self.specials!r}; give another folder."
            )
        self._text = info["options"]["text"]
        return sentencepiece.SentencePieceProcessor(model_proto=path.read_bytes())


class Tokenizer(PieceTokenizer):
    """A tokenizer with the four special tokens; see :class:`PieceTokenizer`."""

    specials = "four"
    left_out = frozenset({PAD_INDEX, BOS_INDEX, EOS_INDEX})
    pad_index = PAD_INDEX
    blank_index = PAD_INDEX
    bos_index = BOS_INDEX
    eos_index = EOS_INDEX


class TokenEncoder:
    """Transform for the loader: adds an utterance's tokens.

    `tokens` [U], `tokens_bos` [U + 1] (start first) and `tokens_eos` [U + 1] (end last) are int64.

    Arguments
    ---------
    tokenizer : Tokenizer
        Encodes the utterance's `text`.
    """

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer = tokenizer

    def __call__(self, example: dict[str, Any]) -> dict[str, Any]:
        """Return the utterance's dict with its tokens."""
        ids = torch.tensor(
            [BOS_INDEX, *self.tokenizer.encode(example["text"]), EOS_INDEX], dtype=torch.int64
        )
        return {**example, "tokens": ids[1:-1], "tokens_bos": ids[:-1], "tokens_eos": ids[1:]}


def count_ctc_labels(tokens: Tensor, num_tokens: Tensor) -> Tensor:
    """Return how many frames CTC needs at least for each utterance.

    One for each token, and one more for the blank between two equal neighbours (Graves et al.
    2006, section 3.1).

    Arguments
    ---------
    tokens : Tensor
        [B, U] int64, right-padded.
    num_tokens : Tensor
        [B] int64 true lengths.

    Returns
    -------
    Tensor
        [B] int64.
    """
    is_repeat = tokens[:, 1:] == tokens[:, :-1]  # [B, U - 1], [B, 0] where no text has a token
    places = torch.arange(is_repeat.shape[1], device=tokens.device)
    return num_tokens + (is_repeat & (places + 1 < num_tokens[:, None])).sum(1)


def ctc_feasible(num_labels: Tensor, num_frames: Tensor) -> Tensor:
    """Return which utterances have an alignment; CTC gives the others an infinite loss.

    Arguments
    ---------
    num_labels : Tensor
        [B] from `count_ctc_labels`.
    num_frames : Tensor
        [B] frames of the encoder's output.

    Returns
    -------
    Tensor
        [B] bool.
    """
    return num_labels <= num_frames
