"""The benchmark's tokens: SentencePiece unigrams of lower-case text, no start, no end.

Piece 0 is the unknown one, which must never occur in training text; there is no padding piece; the
transducer's blank comes behind the last piece.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sentencepiece
import torch

from recipes.common.tokenizer_training import TokenizerOptions
from recipes.common.tokens import PieceTokenizer

UNKNOWN = 0


def benchmark_options(vocab_size: int) -> TokenizerOptions:
    """Return what the benchmark's tokenizer depends on besides its texts."""
    return TokenizerOptions(
        model_type="unigram",
        vocab_size=vocab_size,
        character_coverage=1.0,
        text="lower",
        max_texts=None,
        specials="unknown",
    )


class Tokenizer(PieceTokenizer):
    """The benchmark's tokenizer; see :class:`recipes.common.tokens.PieceTokenizer`.

    Arguments
    ---------
    folder : str | Path
        Where `train_tokenizer` wrote to; or a SentencePiece model file of the benchmark's form.
    vocab_size : int
        Pieces, the unknown one included; the blank is the class behind them.
    """

    def __init__(self, folder: str | Path, *, vocab_size: int):
        super().__init__(folder, vocab_size=vocab_size)
        self.blank_index = vocab_size

    def _load(self) -> Any:
        if not self.folder.is_file():
            return super()._load()
        self._text = "lower"
        processor = sentencepiece.SentencePieceProcessor(model_proto=self.folder.read_bytes())
        found = (processor.get_piece_size(), processor.unk_id(), processor.bos_id())
        if found != (self.vocab_size, UNKNOWN, -1):
            raise ValueError(
                f"tokenizer {self.folder}: has {found[0]} pieces, unknown {found[1]}, start "
                f"{found[2]}; expected {self.vocab_size}, 0 and none (-1); give vocab_size or "
                "another file."
            )
        return processor


class TokenEncoder:
    """Transform for the loader: adds an utterance's pieces as `tokens` [U], int64.

    Arguments
    ---------
    tokenizer : Tokenizer
        Encodes the utterance's `text`.
    """

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer = tokenizer

    def __call__(self, example: dict[str, Any]) -> dict[str, Any]:
        """Return the utterance's dict with its pieces."""
        ids = self.tokenizer.encode(example["text"])
        return {**example, "tokens": torch.tensor(ids, dtype=torch.int64)}


def refuse_unknown(batch: Any, num_tokens: Sequence[int]) -> None:
    """Check a batch of training data, on the host; validation data may have unknown pieces.

    Arguments
    ---------
    batch : Any
        With `id` and `text` of B utterances, and `tokens` [B, U], right-padded.
    num_tokens : Sequence[int]
        Of each utterance.

    Raises
    ------
    ValueError
        If a text has an unknown piece: the tokenizer is of other texts.
    """
    tokens = batch.tokens.data  # [B, U]
    is_text = torch.arange(tokens.shape[1]) < torch.tensor(num_tokens)[:, None]
    rows = ((tokens == UNKNOWN) & is_text).any(1).nonzero().flatten().tolist()
    if rows:
        raise ValueError(
            f"tokens: {batch.id[rows[0]]} has an unknown piece in its text "
            f"{batch.text[rows[0]]!r}; expected a tokenizer that knows its training text; train it "
            "again."
        )
