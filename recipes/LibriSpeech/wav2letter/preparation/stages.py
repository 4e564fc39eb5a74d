"""Stages of a preparation: each is done once, and again only where its options changed."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_prepare.files import file_sha256, write_json

logger = logging.getLogger(__name__)


class Stages:
    """Runs stages that write into one folder and notes what they were made of.

    Arguments
    ---------
    folder : Path
        Where they write; gets `<stage>.json`, written last.
    options : Mapping[str, Any]
        Plain values that all stages depend on.
    """

    def __init__(self, folder: Path, options: Mapping[str, Any]) -> None:
        self.folder = folder
        self.options = json.loads(json.dumps(options))

    def run(
        self, name: str, make: Callable[[], dict[str, Any]], *, inputs: Sequence[str | Path] = ()
    ) -> None:
        """Run a stage, unless it was run with equal options and inputs.

        Arguments
        ---------
        name : str
            Of the stage.
        make : Callable[[], dict[str, Any]]
            Writes its files; returns counts, to be told and noted.
        inputs : Sequence[str | Path]
            Files that it reads.

        Raises
        ------
        FileNotFoundError
            If an input is absent.
        ValueError
            If it was run with other options or inputs.
        """
        path = self.folder / f"{name}.json"
        absent = [str(file) for file in inputs if not Path(file).is_file()]
        if absent:
            raise FileNotFoundError(
                f"prepare: {', '.join(absent)} absent; expected files; mend the paths."
            )
        stamp = {
            "options": self.options,
            "inputs": {Path(file).name: file_sha256(Path(file)) for file in inputs},
        }
        if path.is_file():
            found = json.loads(path.read_text(encoding="utf-8"))
            if {key: found.get(key) for key in stamp} != stamp:
                raise ValueError(
                    f"prepare: {self.folder} holds {name} made of other splits or files; expected "
                    f"the same; give another out_folder, or delete {path}."
                )
            logger.info("%s: found in %s", name, self.folder)
            return
        counts = make()
        write_json(path, {**stamp, "counts": counts})
        logger.info("%s: %s", name, counts)
