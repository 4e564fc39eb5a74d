"""The benchmark's tokens: SentencePiece unigrams of lower-case text, no start, no end.

Piece 0 is the unknown one, which must never occur in training text; there is no padding piece; the
transducer's blank comes behind the last piece.
"""

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import sentencepiece
import torch

from data_prepare.files import atomic_path, file_sha256, write_json
from data_prepare.index import ShardIndex
from data_prepare.storage import Storage

MODEL_NAME, INFO_NAME = "tokenizer.model", "tokenizer.json"
FORMAT = "stampede-unigram-1"
UNKNOWN = 0


def lowered(text: str) -> str:
    """Return the text as the benchmark has it: lower case, single spaces."""
    return " ".join(text.lower().split())


def train_model(texts: Iterable[str], *, vocab_size: int) -> bytes:
    """Return a SentencePiece model of some texts, with the benchmark's options.

    Arguments
    ---------
    texts : Iterable[str]
        Lower case.
    vocab_size : int
        Pieces, the unknown one included.

    Returns
    -------
    bytes
        The model.

    Raises
    ------
    ValueError
        If the texts do not give so many pieces.
    """
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=model,
            vocab_size=vocab_size,
            model_type="unigram",
            character_coverage=1.0,
            bos_id=-1,
            eos_id=-1,
            # One thread: sums in one order, hence equal bytes on every machine.
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise ValueError(
            f"tokenizer: SentencePiece gave no unigram model of {vocab_size} pieces: {error}; "
            "expected a size between the number of characters and that of frequent pieces; change "
            "vocab_size."
        ) from error
    return model.getvalue()


def train_tokenizer(
    folders: Sequence[str | Path | Storage], out_folder: str | Path, *, vocab_size: int
) -> Path:
    """Train a tokenizer on the texts of prepared splits, or find the one of the same texts.

    Call it on the main process only.

    Arguments
    ---------
    folders : Sequence[str | Path | Storage]
        Folders of training splits, with their index.json.
    out_folder : str | Path
        Gets tokenizer.model and, last, tokenizer.json.
    vocab_size : int
        Pieces, without the blank.

    Returns
    -------
    Path
        The out_folder.

    Raises
    ------
    ValueError
        If a tokenizer of other texts or another size is there.
    """
    out = Path(out_folder)
    indexes = [ShardIndex.load(folder) for folder in folders]
    stamp = {
        "format": FORMAT,
        "vocab_size": vocab_size,
        "indexes": [index.checksum for index in indexes],
    }
    if (out / INFO_NAME).is_file():
        found = json.loads((out / INFO_NAME).read_text(encoding="utf-8"))
        differing = [name for name, value in stamp.items() if found.get(name) != value]
        if differing:
            raise ValueError(
                f"tokenizer {out}: {', '.join(differing)} differ from those asked for; expected "
                "the same texts and size; give another tokenizer_folder, or delete this one."
            )
        return out
    digest = hashlib.sha256()
    model = train_model(_digested(indexes, digest), vocab_size=vocab_size)
    out.mkdir(parents=True, exist_ok=True)
    with atomic_path(out / MODEL_NAME) as path:
        path.write_bytes(model)
    sums = {"text_sha256": digest.hexdigest(), "model_sha256": file_sha256(out / MODEL_NAME)}
    write_json(out / INFO_NAME, {**stamp, **sums})
    return out


def _digested(indexes: Sequence[ShardIndex], digest: Any) -> Iterator[str]:
    for index in indexes:
        for row in index.texts():
            text = lowered(row["text"])
            digest.update(text.encode() + b"\n")
            if text:
                yield text


class Tokenizer:
    """Turns texts into pieces and back; loads its file when first used.

    Arguments
    ---------
    folder : str | Path
        Where `train_tokenizer` wrote to; or a SentencePiece model of the benchmark's form.
    vocab_size : int
        Pieces that the model expects.
    """

    def __init__(self, folder: str | Path, *, vocab_size: int):
        self.folder, self.vocab_size = Path(folder), vocab_size
        self._loaded: Any = None

    def __len__(self) -> int:
        """Return the number of pieces, without the blank."""
        return int(self._processor().get_piece_size())

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_loaded": None}

    @property
    def blank_index(self) -> int:
        """Class behind the last piece."""
        return self.vocab_size

    def encode(self, text: str) -> list[int]:
        """Return the pieces of a text in lower case; unknown ones (0) are the caller's matter."""
        ids: list[int] = self._processor().encode(lowered(text))
        return ids

    def decode(self, ids: Iterable[Iterable[int]]) -> list[str]:
        """Return the texts of lists of pieces."""
        rows = [[int(i) for i in row] for row in ids]
        texts: list[str] = self._processor().decode(rows) if rows else []
        return texts

    def pieces(self) -> list[str]:
        """Return the text of every piece, in order."""
        processor = self._processor()
        return [processor.id_to_piece(i) for i in range(len(self))]

    def _processor(self) -> Any:
        if self._loaded is None:
            self._loaded = self._load()
        return self._loaded

    def _load(self) -> Any:
        path = self.folder / MODEL_NAME if self.folder.is_dir() else self.folder
        if not path.is_file():
            raise FileNotFoundError(
                f"tokenizer: {path} is missing; expected a trained model; train it first."
            )
        processor = sentencepiece.SentencePieceProcessor(model_proto=path.read_bytes())
        found = (processor.get_piece_size(), processor.unk_id(), processor.bos_id())
        if found != (self.vocab_size, UNKNOWN, -1):
            raise ValueError(
                f"tokenizer {path}: has {found[0]} pieces, unknown {found[1]}, start {found[2]}; "
                f"expected {self.vocab_size}, 0 and none (-1); give vocab_size or another folder."
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
