"""Fixtures that every test may use; lets hypothesis and SpeechBrain live in one process."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """Folder of the project."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with real recordings beside the project; the test skips where it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not (folder / "manifest.jsonl").is_file():
        # The recordings are under licences of their own and lie beside the project, not in it.
        pytest.skip(f"no real recordings: {folder}/manifest.jsonl is absent")
    return folder


def tame_lazy_modules() -> None:
    """Give SpeechBrain's lazy modules a `__file__`.

    Hypothesis asks every loaded module for it; a lazy module would import its target, and fails
    where that needs a package which is not installed.
    """
    importutils = sys.modules.get("speechbrain.utils.importutils")
    if importutils is not None:
        importutils.LazyModule.__file__ = None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems() -> None:
    tame_lazy_modules()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    tame_lazy_modules()
