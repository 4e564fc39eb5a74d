"""Batches of text for the language model: shuffled by epoch, dealt to ranks, resumable."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from speechbrain.utils.distributed import run_on_main
from torch import Tensor

from data_prepare.files import file_sha256
from data_prepare.index import ShardIndex
from data_prepare.storage import Storage
from recipes.common.distributed import rank, world_size
from recipes.common.recoverable import loader, recoverable, saver
from recipes.LibriSpeech.LM.conv_lm.text import END, PAD, EncodedText, Vocabulary, encode
from recipes.LibriSpeech.wav2letter.preparation.lexicons import letter_line
from recipes.LibriSpeech.wav2letter.preparation.texts import read_texts, split_texts
from recipes.LibriSpeech.wav2letter.tokens import TokenSet


@dataclass
class TextBatch:
    """Examples of one batch; `inputs` is `targets` one word later, begun by the end of a sentence.

    Arguments
    ---------
    inputs : Tensor
        [B, T] int64, padded with `PAD`.
    targets : Tensor
        [B, T] int64, padded with `PAD`.
    id : list[str]
        Numbers of the examples.
    is_padding : bool
        True: here only so that every rank gets the same number of batches.
    ends_epoch : bool
        Last batch of the epoch.
    """

    inputs: Tensor
    targets: Tensor
    id: list[str]
    is_padding: bool
    ends_epoch: bool

    def to(self, device: Any) -> Self:
        """Move the words to a device."""
        self.inputs, self.targets = self.inputs.to(device), self.targets.to(device)
        return self


@recoverable
class TextLoader(torch.utils.data.DataLoader[TextBatch]):
    """Yields the batches of an epoch; the next epoch has another order.

    Arguments
    ---------
    split : str | Path | Storage
        Prepared split, whose transcripts are the text unless `text_file` is given.
    tokens_file : str | Path
        Vocabulary, see `Vocabulary`; also the tokens that transcripts are spelled in.
    work_folder : str | Path
        Where the encoded text goes.
    text_file : str | Path | None
        Text in place of the transcripts: words or tokens parted by blanks, one sentence a line.
    level : str
        "letters": transcripts are spelled in tokens; "words": they are taken as they are.
    max_words : int
        Of an example.
    batch_examples : int
        Of a batch.
    shuffle : bool
        Whether the order changes from epoch to epoch.
    seed : int
        Of the order.
    transforms : Sequence[Any]
        Not used: text has none.
    num_workers : int
        Not used: text is read at once.
    """

    def __init__(  # noqa: PLR0913 - the options of a YAML block, all by keyword
        self,
        split: str | Path | Storage,
        *,
        tokens_file: str | Path,
        work_folder: str | Path,
        text_file: str | Path | None = None,
        level: str = "letters",
        max_words: int = 512,
        batch_examples: int = 1,
        shuffle: bool = False,
        seed: int = 0,
        transforms: Sequence[Any] = (),
        num_workers: int = 0,
    ) -> None:
        del transforms, num_workers
        if level not in ("letters", "words") or max_words < 2 or batch_examples < 1:
            raise ValueError(
                f"text loader: level is {level!r}, max_words {max_words}, batch_examples "
                f"{batch_examples}; expected letters or words, >= 2, >= 1."
            )
        self.text = _encoded(split, text_file, Path(tokens_file), level, Path(work_folder))
        self.places = self.text.examples(max_words)
        self.batch_examples, self.shuffle, self.seed = batch_examples, shuffle, seed
        # The encoded text lies in a folder that is named after it.
        self.name = Path(self.text.words.filename).parent.name  # type: ignore[attr-defined]
        self.epoch = self.batch = 0
        self._ordered: tuple[int, NDArray[np.int64]] | None = None
        super().__init__([], batch_size=None)  # type: ignore[arg-type]

    def __len__(self) -> int:
        """Return the number of batches of an epoch, on each rank."""
        return -(-len(self.places) // (self.batch_examples * world_size()))

    def __iter__(self) -> Iterator[TextBatch]:  # type: ignore[override]
        order = self._order(self.epoch)
        while self.batch < len(self):
            self.batch += 1
            first = ((self.batch - 1) * world_size() + rank()) * self.batch_examples
            batch = self._batch(order[first : first + self.batch_examples])
            batch.ends_epoch = self.batch == len(self)
            yield batch
        self.epoch, self.batch = self.epoch + 1, 0

    def fetch(self, number: int, *, pass_number: int = 0) -> TextBatch:
        """Return batch `number` of a pass, which is an epoch; the position does not change.

        For trainers that hand out batch numbers themselves; `num_batches` says how many there are.
        """
        first = number * self.batch_examples
        return self._batch(self._order(pass_number)[first : first + self.batch_examples])

    def num_batches(self, pass_number: int = 0) -> int:
        """Return the batches of a pass, of all ranks together."""
        return -(-len(self.places) // self.batch_examples)

    def state_dict(self) -> dict[str, Any]:
        """Return what names the batches and their order: plain values, ready for JSON."""
        own = ("batch_examples", "shuffle", "seed", "epoch", "batch")
        return {"text": self.name, "places": len(self.places), **{k: vars(self)[k] for k in own}}

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if self._ordered is None or self._ordered[0] != epoch:
            order = np.arange(len(self.places))
            if self.shuffle:
                order = np.random.default_rng([self.seed, epoch]).permutation(order)
            self._ordered = epoch, order
        return self._ordered[1]

    def report(self) -> dict[str, Any]:
        """Return the figures of the text."""
        return {"words": len(self.text.words), "examples": len(self.places), "batches": len(self)}

    def _batch(self, numbers: NDArray[np.int64]) -> TextBatch:
        is_padding = len(numbers) == 0
        numbers = numbers if len(numbers) else np.zeros(1, np.int64)
        rows = [self.text.words[first:last] for first, last in self.places[numbers]]
        shape = len(rows), max(map(len, rows))
        targets = np.full(shape, PAD, np.int64)
        for place, row in enumerate(rows):
            targets[place, : len(row)] = row
        inputs = np.concatenate([np.full((len(rows), 1), END), targets[:, :-1]], axis=1)
        return TextBatch(
            torch.from_numpy(inputs),
            torch.from_numpy(targets),
            [str(number) for number in numbers],
            is_padding,
            ends_epoch=False,
        )

    @saver
    def _save(self, path: Path) -> None:
        state = {"epoch": self.epoch, "batch": self.batch, "world_size": world_size()}
        Path(path).write_text(json.dumps(state), encoding="utf-8")

    @loader
    def _recover(self, path: Path, end_of_epoch: bool) -> None:
        del end_of_epoch
        state = json.loads(Path(path).read_text(encoding="utf-8"))
        if state["batch"] and state["world_size"] != world_size():
            raise ValueError(
                f"text loader: the checkpoint lies in an epoch of {state['world_size']} ranks, now "
                f"there are {world_size()}; expected the same; or take an end of an epoch."
            )
        self.epoch, self.batch = state["epoch"], state["batch"]


def _encoded(
    split: str | Path | Storage,
    text_file: str | Path | None,
    tokens_file: Path,
    level: str,
    work_folder: Path,
) -> EncodedText:
    vocabulary = Vocabulary(tokens_file)
    if text_file is None:
        index = ShardIndex.load_texts(split)
        stamp = f"{level} of {index.checksum}"

        def sentences() -> Iterator[str]:
            texts = (text for _, text in split_texts(index))
            if level == "words":
                return texts
            tokens = TokenSet(tuple(vocabulary.names))
            return (letter_line(text, tokens) for text in texts)

    else:
        path = Path(text_file)
        if not path.is_file():
            raise FileNotFoundError(
                f"text loader: {path} is absent; expected text, one sentence a line; prepare it, "
                "or set text_file to null to take the transcripts of the corpus."
            )
        stamp = file_sha256(path)

        def sentences() -> Iterator[str]:
            return read_texts([path])

    names = hashlib.sha256("\n".join([stamp, *vocabulary.names]).encode()).hexdigest()
    folder = work_folder / f"text-{names[:16]}"
    options = {"vocabulary": vocabulary, "stamp": stamp}
    run_on_main(encode, args=[sentences, folder], kwargs=options)
    return encode(sentences, folder, vocabulary=vocabulary, stamp=stamp)
