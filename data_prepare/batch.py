"""Batches: from rows of the index to SpeechBrain's PaddedBatch.

Across the border between loader worker and trainer goes one buffer per batch in shared memory,
which the batch keeps, and one small message. Legend: B utterances, S samples.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from speechbrain.dataio.batch import PaddedBatch, PaddedData
from speechbrain.utils.data_utils import batch_pad_right
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from data_prepare.handover import Buffers, Received, Sent
from data_prepare.index_format import NOTES
from data_prepare.read_ahead import ReadAhead
from data_prepare.reading import TEXT_FIELDS, Fault, ShardReader, Utterances
from data_prepare.sequence import Position
from data_prepare.storage import StorageCounts

Transform = Callable[[dict[str, Any]], dict[str, Any]]
Padded = tuple[NDArray[Any], NDArray[np.float32]]


@dataclass(frozen=True)
class BatchRequest:
    """What a loader worker has to read.

    Arguments
    ---------
    rows : NDArray
        [B] rows of the index, B >= 1.
    is_padding, ends_epoch, position : bool, bool, Position
        Handed on to the batch, see `SpeechBatch`.
    corpus : int
        Which corpus of a mixture it is of.
    number, run, ahead : int, int, tuple[BatchRequest, ...]
        Place in its iteration, which iteration that is, and requests to come for the same loader
        worker, see `data_prepare.read_ahead`.
    """

    rows: NDArray[np.void]
    is_padding: bool = False
    ends_epoch: bool = False
    position: Any = field(default_factory=Position)
    corpus: int = 0
    number: int = 0
    run: int = 0
    ahead: tuple["BatchRequest", ...] = ()


class SpeechBatch(PaddedBatch):
    """A PaddedBatch with what the loader knows of it.

    `wavs` is PaddedData ([B, S] float32 in [-1, 1), relative lengths); `id`, `text`, `speaker`,
    `category`, `language`, `group` and `notes` (dicts, see `Utterance`) are lists; transforms add
    their own.

    Attributes
    ----------
    is_padding : bool
        True: here only so that every rank gets the same number of batches. Loss and scores
        ignore it.
    ends_epoch : bool
        Last batch of the (nominal) epoch.
    seconds : float
        Audio in the batch without padding; 0 for a padding batch.
    position : Position
        Where the run stands once this batch is used.
    faults : list of Fault
        Utterances that had to be left out.
    num_bytes, bytes_needed : int
        Bytes read for it, and what its utterances take in the shards.
    counts : StorageCounts
        Retries and downloaded bytes of the loader worker since its last batch.
    """

    is_padding: bool
    ends_epoch: bool
    seconds: float
    position: Position
    faults: list[Fault]
    num_bytes: int
    bytes_needed: int
    counts: StorageCounts


@dataclass
class PackedBatch:
    """A batch on its way from a loader worker.

    Arguments
    ---------
    wavs : Tensor | Sent | Received
        [B, S] float32, in shared memory where a worker made it.
    num_samples : list of int
        [B] lengths.
    columns : dict
        A list of B values, or a padded array with relative lengths, by name.
    seconds, is_padding, ends_epoch, position, faults, num_bytes, bytes_needed, counts
        See `SpeechBatch`.
    """

    wavs: Tensor | Sent | Received
    num_samples: list[int]
    columns: dict[str, list[Any] | Padded]
    seconds: float
    is_padding: bool
    ends_epoch: bool
    position: Position
    faults: list[Fault]
    num_bytes: int
    bytes_needed: int
    counts: StorageCounts

    def unpack(self) -> SpeechBatch:
        """Return the batch."""
        wavs = self._take_floats()
        lengths = torch.tensor(self.num_samples, dtype=torch.float32) / wavs.shape[1]
        ready = {"wavs": PaddedData(wavs, lengths)}
        for name, column in self.columns.items():
            if isinstance(column, tuple):
                ready[name] = PaddedData(*map(torch.from_numpy, column))
        examples = [
            {
                name: ready[name].data if name in ready else self.columns[name][place]
                for name in ("wavs", *self.columns)
            }
            for place in range(len(self.num_samples))
        ]
        batch = SpeechBatch(
            examples,
            padding_func=_take_ready,
            per_key_padding_kwargs={name: {"ready": data} for name, data in ready.items()},
            apply_default_convert=False,
        )
        for name in SpeechBatch.__annotations__:
            setattr(batch, name, getattr(self, name))
        return batch

    def _take_floats(self) -> Tensor:
        """Return the audio; the tensor keeps its shared memory from being used again."""
        if isinstance(self.wavs, Received):
            self.wavs = self.wavs.floats()
        assert isinstance(self.wavs, Tensor)
        return self.wavs

    def pin_memory(self) -> SpeechBatch:
        """Return the batch in page-locked memory; the loader's pinning thread calls this."""
        batch: SpeechBatch = self.unpack().pin_memory()
        return batch


class BatchReader(Dataset[PackedBatch]):
    """Map-style dataset whose item is a whole batch: give it a request, get the batch.

    Arguments
    ---------
    reader : ShardReader
        Of the split.
    transforms : Sequence[Transform]
        Each takes and returns the dict of an utterance (id, text, speaker, category, language,
        group, ...; no audio); new tensors are padded with 0, other values collected in lists.
    """

    def __init__(self, reader: ShardReader, *, transforms: Sequence[Transform] = ()):
        self.reader = reader
        self.transforms = list(transforms)
        self._buffers = Buffers()
        self._read_ahead = ReadAhead(reader.fetch)

    def announce(self, requests: Sequence[BatchRequest]) -> None:
        """Begin to read the bytes of requests to come; `[request]` does so with its `ahead`."""
        self._read_ahead.announce(requests)

    def __getitem__(self, request: BatchRequest) -> PackedBatch:
        """Read, decode, transform and collate the batch of a request."""
        self.announce(request.ahead)
        wavs, found = self._read(request)
        num_samples = found.num_samples
        is_padding = request.is_padding
        metas = found.metas
        if not metas:
            # Nothing of it can be read, yet this rank needs a batch: a second of silence.
            metas = [dict.fromkeys(TEXT_FIELDS, "")]
            num_samples = [self.reader.rate_hz]
            wavs = torch.zeros(1, self.reader.rate_hz)
            is_padding = True
        examples = [self._transformed(_example(meta)) for meta in metas]
        return PackedBatch(
            wavs=wavs,
            num_samples=num_samples,
            columns=_columns(examples),
            seconds=0.0 if is_padding else sum(num_samples) / self.reader.rate_hz,
            is_padding=is_padding,
            ends_epoch=request.ends_epoch,
            position=request.position,
            faults=[] if request.is_padding else found.faults,
            num_bytes=found.num_bytes,
            bytes_needed=found.bytes_needed,
            counts=found.counts,
        )

    def _read(self, request: BatchRequest) -> tuple[Tensor | Sent, Utterances]:
        """Return the audio, in a worker in shared memory, and the rest."""
        rows = request.rows
        shape = len(rows), int(rows["num_samples"].max())
        sent = self._buffers.take(*shape) if get_worker_info() is not None else None
        out = sent.samples() if sent is not None else np.empty(shape, dtype=np.float32)
        found = self.reader.read(rows, out=out, fetched=self._read_ahead.take(request))
        kept = len(found.metas), max(found.num_samples, default=0)
        if sent is None:
            return torch.from_numpy(out[: kept[0], : kept[1]]).contiguous(), found
        sent.cut(*kept)
        return sent, found

    def _transformed(self, example: dict[str, Any]) -> dict[str, Any]:
        utterance = example["id"]
        for transform in self.transforms:
            example = transform(example)
            if not isinstance(example, dict):
                raise TypeError(
                    f"loader: transform {transform!r} returned {type(example).__name__} for "
                    f"utterance {utterance}; expected a dict; return the changed dict."
                )
        return example


def _example(meta: dict[str, Any]) -> dict[str, Any]:
    return {name: meta[name] for name in TEXT_FIELDS} | {NOTES: meta.get(NOTES, {})}


def _columns(examples: list[dict[str, Any]]) -> dict[str, list[Any] | Padded]:
    names = examples[0].keys()
    for example in examples:
        if example.keys() != names:
            raise ValueError(
                f"loader: utterance {example.get('id')} has {sorted(example)}, its batch "
                f"{sorted(names)}; expected equal names; let each transform add the same ones."
            )
    columns: dict[str, list[Any] | Padded] = {}
    for name in names:
        values = [example[name] for example in examples]
        if isinstance(values[0], np.ndarray):
            values = [torch.from_numpy(value) for value in values]
        columns[name] = _padded(values) if isinstance(values[0], Tensor) else values
    return columns


def _padded(values: list[Tensor]) -> Padded:
    """Return values padded with zeros, and their lengths relative to the longest."""
    if any(value.dim() != 1 for value in values):
        data, lengths = batch_pad_right(values)
        return data.numpy(), lengths.numpy().astype(np.float32)
    sizes = np.array([len(value) for value in values])
    longest = int(sizes.max())
    padded = np.zeros((len(values), longest), dtype=values[0].numpy().dtype)
    for place, value in enumerate(values):
        padded[place, : len(value)] = value.numpy()
    return padded, (sizes / max(longest, 1)).astype(np.float32)


def _take_ready(_values: list[Tensor], ready: PaddedData) -> PaddedData:
    return ready
