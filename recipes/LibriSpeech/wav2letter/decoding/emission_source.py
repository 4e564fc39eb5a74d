"""Of which run and which checkpoints kept emissions are: others are not decoded by mistake."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recipes.common.hparams import Run

SOURCE_NAME = "source.json"


def source_of(run: Run, options: Sequence[Any]) -> dict[str, Any]:
    """Return what emissions of a run depend on.

    Arguments
    ---------
    run : Run
        The recipe's run file.
    options : Sequence[Any]
        Its command line.

    Returns
    -------
    dict
        Run file, options, and the names of the checkpoints in its output folder.
    """
    checkpoints = Path(run.hparams["output_folder"]) / "checkpoints"
    return {
        "run_file": str(run.path),
        "run_options": [str(word) for word in options],
        "checkpoints": sorted(path.name for path in checkpoints.glob("CKPT*")),
    }


def check_source(folder: Path, wanted: Mapping[str, Any]) -> None:
    """Refuse emissions that are of something else than they shall be.

    Arguments
    ---------
    folder : Path
        Of the emissions.
    wanted : Mapping[str, Any]
        What `source_of` returned.

    Raises
    ------
    ValueError
        Names what differs.
    """
    path = folder / SOURCE_NAME
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    wrong = [
        f"{key} {found.get(key)}, not {value}"
        for key, value in wanted.items()
        if found.get(key) != value
    ]
    if wrong:
        raise ValueError(
            f"decode: the emissions in {folder} are of {'; '.join(wrong)}; expected those of the "
            "run_file that was given; delete the folder or give another emissions_folder, or leave "
            "run_file out to decode what is there."
        )
