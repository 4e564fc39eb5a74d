"""Word pieces: a unigram SentencePiece model, a token file, and several segmentations of a word.

Token file: the model's vocabulary without its special tokens, `_` for the mark of a word's start,
and last of all the end token. Kudo 2018, https://arxiv.org/abs/1804.10959.
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
from recipes.LibriSpeech.wav2letter.tokens import TOKENS_NAME, TokenSet

MODEL_NAME = "pieces.model"
INFO_NAME = "pieces.json"
MARK, SEPARATOR, END = "\u2581", "_", "</s>"


def train_pieces(
    folders: Sequence[str | Path | Storage], out_folder: str | Path, *, vocab_size: int
) -> Path:
    """Train a model on the lower-cased texts of prepared splits, or find it trained already.

    Call it on the main process only. `vocab_size` V gives V - 2 tokens, the end token included.

    Arguments
    ---------
    folders : Sequence[str | Path | Storage]
        Splits to train on, never test data.
    out_folder : str | Path
        Gets pieces.model, tokens.txt and, last, pieces.json.
    vocab_size : int
        Of SentencePiece.

    Returns
    -------
    Path
        The out_folder.

    Raises
    ------
    ValueError
        If pieces of other texts or of another size are there, or the size is impossible.
    """
    folder = Path(out_folder)
    indexes = [ShardIndex.load_texts(place) for place in folders]
    stamp = {"vocab_size": vocab_size, "texts": _digest(_texts(indexes))}
    if (folder / INFO_NAME).is_file():
        found = json.loads((folder / INFO_NAME).read_text(encoding="utf-8"))
        if {key: found.get(key) for key in stamp} != stamp:
            raise ValueError(
                f"pieces: {folder} was made of other texts or for vocab_size "
                f"{found.get('vocab_size')}; expected the same texts and {vocab_size}; give "
                "another folder, or delete it."
            )
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / MODEL_NAME) as path:
        path.write_bytes(_fit(_texts(indexes), vocab_size))
    tokens_of(processor_of(folder / MODEL_NAME)).save(folder / TOKENS_NAME)
    write_json(folder / INFO_NAME, {**stamp, "model": file_sha256(folder / MODEL_NAME)})
    return folder


def processor_of(model: Path) -> Any:
    """Return the SentencePieceProcessor of a model's file."""
    return sentencepiece.SentencePieceProcessor(model_proto=model.read_bytes())


def named(piece: str) -> str:
    """Return a piece as the token files write it."""
    return piece.replace(MARK, SEPARATOR)


def tokens_of(processor: Any) -> TokenSet:
    """Return the pieces of a model but for its special ones, the end token last."""
    special = {processor.unk_id(), processor.bos_id(), processor.eos_id(), processor.pad_id()}
    numbers = (n for n in range(processor.get_piece_size()) if n not in special)
    names = (named(processor.id_to_piece(number)) for number in numbers)
    return TokenSet((*names, END), separator=SEPARATOR, replabel=0)


def _texts(indexes: Sequence[ShardIndex]) -> Iterator[str]:
    for index in indexes:
        for row in index.texts():
            if text := " ".join(row["text"].lower().split()):
                yield text


def _digest(texts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() + b"\n")
    return digest.hexdigest()


def _fit(texts: Iterator[str], vocab_size: int) -> bytes:
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=texts,
            model_writer=model,
            model_type="unigram",
            vocab_size=vocab_size,
            character_coverage=1.0,
            split_by_unicode_script=False,
            max_sentence_length=1 << 20,
            num_threads=1,  # sums in one order, hence equal bytes on every machine
            minloglevel=2,
        )
    except RuntimeError as error:
        raise ValueError(
            f"pieces: vocab_size {vocab_size} is impossible for these texts ({error}); expected "
            "more than their characters, and no more than they have pieces; change vocab_size."
        ) from error
    return model.getvalue()


class WordPieces:
    """Turns texts into word pieces and back.

    Loads its files when first used; pickles as its folder.

    Arguments
    ---------
    folder : str | Path
        Where `train_pieces` wrote to.
    num_best : int
        Segmentations of each word that are drawn from in training.
    sample_share : float
        Probability of a word to get one of them, drawn evenly, instead of the best; 0 to 1.
    case : str
        "upper" or "lower": of the texts that come back, as the corpus has them.
    num_tokens : int | None
        Number of tokens that the model expects.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        num_best: int = 10,
        sample_share: float = 0.01,
        case: str = "upper",
        num_tokens: int | None = None,
    ) -> None:
        if not (num_best >= 1 and 0 <= sample_share <= 1 and case in ("upper", "lower")):
            raise ValueError(
                f"pieces: num_best is {num_best}, sample_share {sample_share}, case {case!r}; "
                "expected >= 1, 0 to 1, upper or lower."
            )
        self.folder = Path(folder)
        self.num_best, self.sample_share, self.case = num_best, sample_share, case
        self.num_tokens = num_tokens
        self.num_unknown = 0  # pieces left out since they are no token
        self._processor: Any = None
        self._tokens: TokenSet | None = None
        self._known: dict[str, list[list[int]]] = {}

    def __len__(self) -> int:
        """Return the number of tokens, the end token included."""
        return len(self._loaded())

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_processor": None, "_known": {}, "_tokens": None}

    @property
    def tokens(self) -> list[str]:
        """The tokens, in the order of their numbers."""
        return list(self._loaded().names)

    def encode(self, text: str, *, is_training: bool = False) -> list[int]:
        """Return the tokens of a text, without end.

        Arguments
        ---------
        text : str
            Words; capitals are the same as small letters.
        is_training : bool
            Whether some words get another than their best segmentation, drawn by torch's
            generator.

        Returns
        -------
        list of int
            Token indexes.
        """
        choices = [self.segmentations(word) for word in text.lower().split()]
        if not is_training or self.sample_share == 0:
            return [index for segmented in choices for index in segmented[0]]
        draws = torch.rand(len(choices), 2).tolist()
        tokens: list[int] = []
        for segmented, (chance, place) in zip(choices, draws, strict=True):
            is_drawn = chance < self.sample_share
            tokens += segmented[int(place * len(segmented))] if is_drawn else segmented[0]
        return tokens

    def segmentations(self, word: str) -> list[list[int]]:
        """Return the best segmentations of a word as tokens, best first; at least one."""
        if word not in self._known:
            self._loaded()
            best = self._processor.nbest_encode(word, nbest_size=self.num_best, out_type=str)
            self._known[word] = [self._to_indexes(pieces) for pieces in best] or [[]]
        return self._known[word]

    def decode(self, rows: Iterable[Iterable[int]]) -> list[str]:
        """Return the texts of token sequences without end tokens."""
        tokens = self._loaded()
        texts = [" ".join(tokens.words(row)) for row in rows]
        return [text.upper() for text in texts] if self.case == "upper" else texts

    def _to_indexes(self, pieces: Sequence[str]) -> list[int]:
        places = self._loaded().places
        names = [named(piece) for piece in pieces]
        self.num_unknown += sum(name not in places for name in names)
        return [places[name] for name in names if name in places]

    def _loaded(self) -> TokenSet:
        if self._tokens is not None:
            return self._tokens
        tokens = TokenSet.load(self.folder / TOKENS_NAME, separator=SEPARATOR, replabel=0)
        model = self.folder / MODEL_NAME
        processor = processor_of(model) if model.is_file() else None
        if processor is None or tokens_of(processor) != tokens:
            raise ValueError(
                f"pieces: {model} is missing or has other pieces than {TOKENS_NAME} beside it; "
                "expected both from one training; delete the folder and train again."
            )
        if self.num_tokens not in (None, len(tokens)):
            raise ValueError(
                f"pieces: {self.folder} has {len(tokens)} tokens; expected {self.num_tokens} as "
                "the model has; give another folder or vocab_size."
            )
        self._tokens, self._processor = tokens, processor
        return tokens
