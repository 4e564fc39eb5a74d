"""Every run file is loaded once."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from recipes.common.hparams import load_run
from recipes.common.yaml_tree import new_yaml
from tests.consistency.run_files import fillings, view_of


@dataclass(frozen=True)
class Loaded:
    """A run file that was loaded: the keys of its objects, and its tree with all filled in."""

    keys: set[str]
    tree: Any


Load = Callable[[Path], Loaded]


@pytest.fixture(scope="session")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    """Function from a run file to what it loads as; large models are not kept."""
    folder = tmp_path_factory.mktemp("load")
    known: dict[Path, Loaded] = {}

    def load_once(path: Path) -> Loaded:
        if path not in known:
            words = [str(path), *fillings(path, folder)]
            if "output_folder" in view_of(path).tree:
                words += ["--output_folder", str(folder / path.stem)]
            run = load_run(words)
            known[path] = Loaded(set(run.hparams), new_yaml().load(run.resolved_text))
        return known[path]

    return load_once
