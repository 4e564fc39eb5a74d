"""Fixtures that every test may use."""

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
