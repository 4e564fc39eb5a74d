"""What a decoding process does; it imports no more than that needs, so that it starts soon."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

import torch

from recipes.LibriSpeech.wav2letter.decoding.emissions import EmissionSet
from recipes.LibriSpeech.wav2letter.decoding.searches import best_of

_work: dict[str, Any] = {}


def start(make_search: Callable[[], Any], folder: Path) -> None:
    """Make the search and open the set, once in each process."""
    torch.set_num_threads(1)
    _work.update(search=make_search(), emissions=EmissionSet(folder))


def decode(number: int) -> tuple[int, str, float, bool]:
    """Decode one utterance of the set.

    Arguments
    ---------
    number : int
        Its place.

    Returns
    -------
    tuple[int, str, float, bool]
        Its place, its text, processor seconds, and whether the beam lost every hypothesis.
    """
    emissions: EmissionSet = _work["emissions"]
    start_s = process_time()
    best = best_of(_work["search"], emissions.emissions(number), emissions.transitions)
    return number, best.text, process_time() - start_s, best.score == float("-inf")
