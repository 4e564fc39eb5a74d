"""Decode whole test sets from their emissions, in several processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from recipes.common.scoring import TextScores
from recipes.LibriSpeech.wav2letter.decoding.decode_worker import decode, start
from recipes.LibriSpeech.wav2letter.decoding.emissions import EmissionSet


@dataclass(frozen=True)
class Decoded:
    """A decoded set.

    Arguments
    ---------
    scores : TextScores
        What was said and what was recognised.
    seconds : float
        Processor seconds of all processes, the making of the searches not counted.
    num_frames : int
        Frames of the set, those that the search sees.
    num_lost : int
        Utterances for which the beam lost every hypothesis.
    """

    scores: TextScores
    seconds: float
    num_frames: int
    num_lost: int


def decode_set(
    make_search: Callable[[], Any],
    folder: Path,
    *,
    to_text: Callable[[str], str] = str.upper,
    num_jobs: int = 1,
) -> Decoded:
    """Decode the emissions of a set.

    Arguments
    ---------
    make_search : Callable[[], Any]
        Returns the search; called once in each process, so it has to pickle.
    folder : Path
        Of the set.
    to_text : Callable[[str], str]
        From the words of a search to the form of the references.
    num_jobs : int
        Processes; 1: this one.

    Returns
    -------
    Decoded
        The texts.
    """
    emissions = EmissionSet(folder)
    longest_first = sorted(
        range(len(emissions)), key=lambda number: -emissions.utterances[number].num_frames
    )
    scores, seconds, num_lost = TextScores(), 0.0, 0
    for number, text, spent_s, is_lost in _decoded(make_search, folder, longest_first, num_jobs):
        heard = emissions.utterances[number]
        scores.append(
            [heard.id],
            references=[heard.text],
            hypotheses=[to_text(text)],
            categories=[heard.category],
        )
        seconds += spent_s
        num_lost += is_lost
    scores.merge([scores])
    num_frames = sum(heard.num_frames for heard in emissions.utterances)
    return Decoded(scores, seconds, num_frames, num_lost)


def _decoded(
    make_search: Callable[[], Any], folder: Path, numbers: Sequence[int], num_jobs: int
) -> Iterator[tuple[int, str, float, bool]]:
    if num_jobs == 1:
        start(make_search, folder)
        yield from map(decode, tqdm(numbers, desc=folder.name))
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        num_jobs, mp_context=context, initializer=start, initargs=(make_search, folder)
    ) as pool:
        yield from tqdm(pool.map(decode, numbers), total=len(numbers), desc=folder.name)


def figures(decoded: Mapping[str, Decoded]) -> dict[str, Any]:
    """Return error rates and speed of each set, for JSON.

    Arguments
    ---------
    decoded : Mapping[str, Decoded]
        Of each set.

    Returns
    -------
    dict[str, Any]
        By name of the set.
    """
    return {
        name: {
            **one.scores.summarise(),
            "decode_s": round(one.seconds, 3),
            "num_frames": one.num_frames,
            "num_lost": one.num_lost,
        }
        for name, one in decoded.items()
    }
