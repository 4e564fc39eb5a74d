"""Imports flow one way: entry files, recipes, data_prepare and hogwild, libraries."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.consistency.run_files import syntax_of

ENTRY = {path.stem for path in ROOT.glob("*.py")}
ROOMS = {"recipes", "data_prepare", "hogwild", "comparing", "tests", "benchmarks"} | ENTRY
MAY_IMPORT = {
    "data_prepare": {"data_prepare"},
    "hogwild": {"hogwild"},
    "recipes": {"recipes", "data_prepare"},
    "comparing": {"comparing", "recipes"},
}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(syntax_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_room_imports_only_downwards(room):
    wrong = []
    for path in (ROOT / room).rglob("*.py"):
        ours = {name.split(".")[0] for name in imports(path)} & ROOMS
        wrong += [f"{path.relative_to(ROOT)}: {name}" for name in ours - MAY_IMPORT[room]]
    assert not wrong


def test_entry_files_import_no_other_entry_file():
    for path in ROOT.glob("*.py"):
        assert not {name.split(".")[0] for name in imports(path)} & ENTRY, path.name


def test_data_prepare_knows_no_networks():
    wrong = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "data_prepare").rglob("*.py")
        if any(name.startswith("torch.nn") for name in imports(path))
    ]
    assert not wrong


def test_only_the_speaking_process_loads_espeak():
    loaders = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "data_prepare").rglob("*.py")
        if "espeakng_loader" in imports(path)
    ]
    assert loaders == ["data_prepare/synthetic/espeak.py"]


def test_files_stay_small():
    long = {
        path.relative_to(ROOT).as_posix(): length
        for path in ROOT.rglob("*.py")
        if ".venv" not in path.parts
        and (length := len(path.read_text(encoding="utf-8").splitlines())) > 300
    }
    assert not long
