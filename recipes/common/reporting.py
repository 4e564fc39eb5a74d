"""What every recipe does at the end of validation and test: figures logged, items written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from speechbrain import Stage
from speechbrain.utils.distributed import if_main_process

from recipes.common.distributed import gather_list
from recipes.common.scoring import METRICS


def merge_scores(brain: Any, stage_loss: float, **more: Any) -> dict[str, Any]:
    """Merge the ranks' scores; what they say becomes the Brain's `results`.

    Arguments
    ---------
    brain : Any
        Its `scores` have `merge` and `summarise`, as :class:`recipes.common.scoring.TextScores`.
    stage_loss : float
        Mean loss of the stage.
    **more : Any
        More results.

    Returns
    -------
    dict
        The results that `valid_figures` names.
    """
    brain.scores.merge(gather_list([brain.scores]))
    brain.results = {"loss": stage_loss, **more, **brain.scores.summarise()}
    return {name: brain.results[name] for name in brain.valid_figures}


def report_stage(
    brain: Any,
    stage: Stage,
    figures: Mapping[str, Any],
    *,
    more: Mapping[str, Any] | None = None,
    details: Mapping[str, Any] | None = None,
    folder: str = "",
    write: Callable[[Path], None] | None = None,
) -> None:
    """Log a validation or test and write its items; after a validation choose the checkpoint.

    Arguments
    ---------
    brain : Any
        Of a recipe.
    stage : Stage
        VALID or TEST.
    figures : Mapping[str, Any]
        What decides: for `finish_validation`, and logged.
    more : Mapping[str, Any] | None
        Logged too.
    details : Mapping[str, Any] | None
        For JSON and curves only.
    folder : str
        Where the items go, inside the output folder.
    write : Callable[[Path], None] | None
        Writes the items to a text file, on the main process; None: nothing is written.
    """
    is_valid = stage == Stage.VALID
    label = "valid" if is_valid else brain.test_set
    values = {**figures, **(more or {})}
    if brain.num_nonfinite_batches:
        values["nonfinite_batches"] = brain.num_nonfinite_batches
    if is_valid:
        values |= {"train_loss": brain.train_loss, "utterances": brain.num_utterances}
        values |= {"train_s": brain.clock.train_s, "valid_s": brain.clock.valid_s}
    brain.run_log.stage(
        label if is_valid else f"test {label}",
        values,
        details=details,
        number=brain.optimizer_step,
        epoch=brain.epoch,
    )
    if write is not None and if_main_process():
        path = Path(brain.hparams.output_folder) / folder / f"{label.replace('/', '_')}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path)
    if is_valid:
        brain.finish_validation(figures, epoch=brain.epoch)


def report_recognition(brain: Any, stage: Stage, figures: Mapping[str, Any]) -> None:
    """Do :func:`report_stage` for recognised text: error rates by category, alignments.

    Arguments
    ---------
    brain : Any
        Its `scores` are TextScores, merged.
    stage : Stage
        VALID or TEST.
    figures : Mapping[str, Any]
        What `merge_scores` returned.
    """
    by_category = brain.results["by_category"].items()
    report_stage(
        brain,
        stage,
        figures,
        details={f"{metric} {c}": part[metric] for c, part in by_category for metric in METRICS},
        folder="alignments",
        write=brain.scores.write_alignments,
    )
