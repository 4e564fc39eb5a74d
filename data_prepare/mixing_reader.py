"""Read the batches of a mixture, each from the corpus that it is of."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch.utils.data import Dataset

from data_prepare.batch import BatchReader, BatchRequest, PackedBatch


class MixedReader(Dataset[PackedBatch]):
    """Reads the batch of a request from the corpus that it names.

    Arguments
    ---------
    readers : Sequence[BatchReader]
        Of each corpus.
    """

    def __init__(self, readers: Sequence[BatchReader]):
        self.readers = list(readers)

    def __getitem__(self, request: BatchRequest) -> PackedBatch:
        """Read, decode, transform and collate the batch of a request."""
        for corpus in {coming.corpus for coming in request.ahead}:
            coming_of = [coming for coming in request.ahead if coming.corpus == corpus]
            self.readers[corpus].announce(coming_of)
        return self.readers[request.corpus][replace(request, ahead=())]


class CorpusName:
    """Transform that tells an utterance's corpus.

    Arguments
    ---------
    name : str
        Of the corpus.
    """

    def __init__(self, name: str):
        self.name = name

    def __call__(self, example: dict[str, Any]) -> dict[str, Any]:
        """Return the utterance's dict with `corpus`."""
        return {**example, "corpus": self.name}
