"""The Brain of a recipe on its test sets: its emissions are kept, or it searches by itself."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import process_time
from typing import Any

import torch
from speechbrain import Stage
from torch import Tensor
from tqdm import tqdm

from data_prepare.files import write_json
from recipes.common.hparams import Run
from recipes.common.job import build_brain, prepare_corpus, prepare_targets, prepare_tests
from recipes.common.run_log import RunLog
from recipes.common.scoring import TextScores
from recipes.LibriSpeech.wav2letter.decoding.decode_sets import Decoded
from recipes.LibriSpeech.wav2letter.decoding.emission_source import (
    SOURCE_NAME,
    check_source,
    source_of,
)
from recipes.LibriSpeech.wav2letter.decoding.emissions import EmissionWriter, Heard, sets_in


def emit(run: Run, run_opts: Any, folder: Path, *, options: Sequence[Any]) -> None:
    """Run a recipe's network on its test sets and keep the emissions, of all sets or of none.

    Emissions that are there already are kept if they are this run's.

    The Brain's `compute_forward` has to return `emissions` [B, T, V] and `num_frames` [B], and its
    criterion to hold `transitions`, as those of the letter recipes do.

    Arguments
    ---------
    run : Run
        The recipe's run file; its best checkpoint is taken.
    run_opts : Any
        SpeechBrain's options.
    folder : Path
        Gets one set for each test set; made under a temporary name.
    options : Sequence[Any]
        The run file's command line.

    Raises
    ------
    ValueError
        If the recipe has no such criterion, or the folder holds something else.
    """
    source = source_of(run, options)
    if any(sets_in(folder)):
        check_source(folder, source)
        return
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(
            f"decode: emissions_folder {folder} holds files but no finished emissions; expected an "
            "empty or absent folder; delete it or give another."
        )
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # of a run that was killed
    with _ready(run, run_opts) as (brain, loaders):
        transitions: Any = _criterion(brain, run).transitions
        for name, loader in loaders.items():
            with EmissionWriter(part / name, transitions) as writer:
                for batch, outputs in _outputs(brain, tqdm(loader, desc=name), Stage.VALID):
                    for heard, emissions in _rows(batch, outputs):
                        writer.add(heard, emissions)
    write_json(part / SOURCE_NAME, source)
    part.replace(folder)


def _criterion(brain: Any, run: Run) -> Any:
    modules = dict(brain.raw_modules.items())
    if not hasattr(modules.get("criterion"), "transitions"):
        raise ValueError(
            f"decode: the Brain of {run.path} has the modules {sorted(modules)}; expected a "
            "criterion with transitions; for an attention decoder take decode_pieces.yaml."
        )
    return modules["criterion"]


def _rows(batch: Any, outputs: dict[str, Any]) -> Iterator[tuple[Heard, Tensor]]:
    rows = zip(batch.id, batch.text, batch.category, outputs["num_frames"].tolist(), strict=True)
    for heard, emissions in zip(rows, outputs["emissions"], strict=True):
        yield Heard(*heard), emissions[: heard[3]]


class TimedSearch:
    """The search of an attention decoder, with what it costs.

    Arguments
    ---------
    search : Any
        Such as `Seq2SeqSearch`.
    """

    def __init__(self, search: Any) -> None:
        self._search = search
        self.seconds, self.num_frames = 0.0, 0

    def __call__(self, decoder: Any, encoded: Tensor, lengths: Tensor) -> list[list[int]]:
        """Search a batch; see `Seq2SeqSearch`."""
        start_s = process_time()
        found: list[list[int]] = self._search(decoder, encoded, lengths)
        self.seconds += process_time() - start_s
        self.num_frames += int(lengths.sum())
        return found


def decode_inside(make_search: Callable[[], Any], run: Run, run_opts: Any) -> dict[str, Decoded]:
    """Let the Brain of an attention decoder search its test sets.

    Arguments
    ---------
    make_search : Callable[[], Any]
        Returns the search, which takes the place of the run file's ``test_search``.
    run : Run
        The recipe's run file; its best checkpoint is taken.
    run_opts : Any
        SpeechBrain's options.

    Returns
    -------
    dict[str, Decoded]
        Of each test set; its frames are the encoder's.
    """
    search = make_search()
    decoded: dict[str, Decoded] = {}
    with _ready(run, run_opts) as (brain, loaders):
        for name, loader in loaders.items():
            timed, scores, num_lost = TimedSearch(search), TextScores(), search.num_incomplete
            brain.hparams.test_search = timed
            for batch, outputs in _outputs(brain, tqdm(loader, desc=name), Stage.TEST):
                scores.append(
                    batch.id,
                    references=batch.text,
                    hypotheses=brain.tokenizer.decode(outputs["hypotheses"]),
                    categories=batch.category,
                )
            scores.merge([scores])
            num_lost = search.num_incomplete - num_lost
            decoded[name] = Decoded(scores, timed.seconds, timed.num_frames, num_lost)
    return decoded


@contextmanager
def _ready(run: Run, run_opts: Any) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yield the Brain with its best checkpoint, and the loader of each test set."""
    hparams = run.hparams
    with RunLog(Path(hparams["output_folder"]), log_every=hparams["log_every"]) as run_log:
        brain = build_brain(run, run_opts, run_log=run_log)
        prepared = prepare_corpus(hparams["corpus"])
        brain.tokenizer, transforms = prepare_targets(hparams, prepared)
        brain.on_evaluate_start()
        brain.modules.eval()
        sets = prepare_tests(hparams, prepared)
        yield (
            brain,
            {name: hparams["test_loader"](sets[name], transforms=transforms) for name in sets},
        )


def _outputs(brain: Any, batches: Any, stage: Stage) -> Iterator[tuple[Any, dict[str, Any]]]:
    for batch in batches:
        if batch.is_padding:
            continue
        with torch.no_grad(), brain.evaluation_ctx:
            outputs = brain.compute_forward(batch, stage=stage)  # in VALID its search is cheap
        yield batch, outputs
