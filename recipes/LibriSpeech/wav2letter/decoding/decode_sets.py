"""Decode whole test sets: emissions from a recipe's Brain, then a search in several processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from speechbrain import Stage
from tqdm import tqdm

from recipes.common.hparams import Run
from recipes.common.job import build_brain, prepare_corpus, prepare_targets, prepare_tests
from recipes.common.run_log import RunLog
from recipes.common.scoring import TextScores
from recipes.LibriSpeech.wav2letter.decoding.decode_worker import decode, start
from recipes.LibriSpeech.wav2letter.decoding.emissions import EmissionSet, EmissionWriter, Heard


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
        Frames of the set.
    num_lost : int
        Utterances for which the beam lost every hypothesis.
    """

    scores: TextScores
    seconds: float
    num_frames: int
    num_lost: int


def emit(run: Run, run_opts: Any, folder: Path) -> None:
    """Run a recipe's network on its test sets and keep the emissions.

    The Brain's `compute_forward` has to return `emissions` [B, T, V] and `num_frames` [B], and its
    criterion to hold `transitions`, as those of the letter recipes do.

    Arguments
    ---------
    run : Run
        The recipe's run file; its best checkpoint is taken.
    run_opts : Any
        SpeechBrain's options.
    folder : Path
        Gets one set for each test set.
    """
    hparams = run.hparams
    with RunLog(Path(hparams["output_folder"]), log_every=hparams["log_every"]) as run_log:
        brain = build_brain(run, run_opts, run_log=run_log)
        prepared = prepare_corpus(hparams["corpus"])
        brain.tokenizer, transforms = prepare_targets(hparams, prepared)
        brain.on_evaluate_start()
        brain.modules.eval()
        for name, split in prepare_tests(hparams, prepared).items():
            loader = hparams["test_loader"](split, transforms=transforms)
            transitions: Any = brain.raw_modules["criterion"].transitions
            with EmissionWriter(folder / name, transitions) as writer:
                for heard, emissions in _emissions(brain, tqdm(loader, desc=name)):
                    writer.add(heard, emissions)


def _emissions(brain: Any, batches: Any) -> Iterator[tuple[Heard, torch.Tensor]]:
    for batch in batches:
        if batch.is_padding:
            continue
        with torch.no_grad(), brain.evaluation_ctx:
            outputs = brain.compute_forward(batch, stage=Stage.VALID)  # its search is the cheap one
        rows = zip(
            batch.id, batch.text, batch.category, outputs["num_frames"].tolist(), strict=True
        )
        for heard, emissions in zip(rows, outputs["emissions"], strict=True):
            yield Heard(*heard), emissions[: heard[3]]


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
