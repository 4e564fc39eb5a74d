"""The YAML files of the project, the keys that they hold, and the keys that code reads."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from recipes.common.yaml_checks import placeholders
from recipes.common.yaml_overrides import expand
from recipes.common.yaml_tree import (
    BASE_KEY,
    Source,
    TaggedScalar,
    new_yaml,
    read_source,
    tag_of,
    walk,
)
from tests.conftest import ROOT

FRAGMENTS = {"corpus", "model"}
"""Folders of the files that run files include."""
FILLINGS = {"vocab_size": 50, "num_words": 40}
"""Values for placeholders that are no paths."""
DICT_METHODS = {"get", "items", "keys", "values", "update"}


def yaml_files() -> list[Path]:
    """Return all configuration files."""
    patterns = ("hparams/**/*.yaml", "recipes/**/hparams/**/*.yaml")
    return sorted(path for pattern in patterns for path in ROOT.glob(pattern))


def run_files() -> list[Path]:
    """Return the files that a command is given."""
    return [path for path in yaml_files() if path.parent.name not in FRAGMENTS]


def fragments() -> list[Path]:
    """Return the files that are included."""
    return [path for path in yaml_files() if path.parent.name in FRAGMENTS]


def name_of(path: Path) -> str:
    """Return a file's name for the list of tests."""
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name


def filling(name: str, folder: Path) -> Any:
    """Return what a test puts in place of a placeholder."""
    if name in FILLINGS:
        return FILLINGS[name]
    assert name.endswith("_folder") or name == "manifest", f"placeholder {name}: add it to FILLINGS"
    return str(folder / name)


@cache
def tree_of(path: Path) -> Any:
    """Return a file as it is written, not to be changed."""
    return new_yaml().load(path.read_text(encoding="utf-8"))


@cache
def syntax_of(path: Path) -> ast.Module:
    """Return the syntax tree of a Python file."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def view_of(path: Path) -> Source:
    """Return a run file with its bases, and with included files in place."""
    faults: list[str] = []
    view = expand(read_source(path), faults)
    assert not faults, faults
    return view


def fillings(path: Path, folder: Path) -> list[str]:
    """Return the options that fill a run file's placeholders."""
    words = []
    for parts in placeholders(view_of(path).tree):
        words += [f"--{'.'.join(parts)}", str(filling(parts[-1], folder))]
    return words


def chain(path: Path) -> list[Any]:
    """Return the trees of a run file and its bases, each as it is written."""
    tree = tree_of(path)
    base = tree.get(BASE_KEY)
    return [tree] if base is None else [tree, *chain(path.parent / base)]


def references(tree: Any) -> Iterator[tuple[str, str]]:
    """Yield (key, other top-level key that something in it refers to)."""
    for key, value in tree.items():
        for _, node in [("", value), *walk(value)]:
            if isinstance(node, TaggedScalar) and tag_of(node) in ("!ref", "!copy"):
                for other in re.findall(r"<([A-Za-z_]\w*)", str(node.value)):
                    if other != key:
                        yield str(key), other


@cache
def keys_read(path: Path) -> set[str]:
    """Return the top-level keys that a Python file reads: hparams["x"] and self.hparams.x."""
    found = set()
    for node in ast.walk(syntax_of(path)):
        if isinstance(node, ast.Subscript) and _is_named(node.value, "hparams"):
            found |= _text(node.slice)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute):
            found |= {node.attr} if node.value.attr == "hparams" else set()
    return found - DICT_METHODS


def corpus_keys_read(path: Path) -> set[str]:
    """Return the keys of a corpus that a Python file reads: corpus["x"], hparams["corpus"]["x"]."""
    found = set()
    for node in ast.walk(syntax_of(path)):
        if isinstance(node, ast.Subscript):
            of = node.value
            is_inner = isinstance(of, ast.Subscript) and _text(of.slice) == {"corpus"}
            if is_inner or (isinstance(of, ast.Name) and of.id == "corpus"):
                found |= _text(node.slice)
    return found


def _is_named(node: ast.expr, name: str) -> bool:
    return (isinstance(node, ast.Name) and node.id == name) or (
        isinstance(node, ast.Attribute) and node.attr == name
    )


def _text(node: ast.expr) -> set[str]:
    is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return {node.value} if is_text else set()


def code_of(path: Path) -> list[Path]:
    """Return the Python files that a run file's keys are for: entry, common rooms, Brain."""
    tree = view_of(path).tree
    brain = tree.get("brain_class")
    if brain is None:
        names = {"comparison": "compare_training.py", "search": "decode.py"}
        found = [name for key, name in names.items() if key in tree]
        return [ROOT / (found or ["tokenizer_train.py"])[0]]
    module = tag_of(brain).removeprefix("!name:").rpartition(".")[0]
    folder = ROOT.joinpath(*module.split(".")).parent
    assert folder.is_dir(), folder
    common = ROOT / "recipes" / "common"
    entry = ROOT / ("train_hogwild.py" if "hogwild" in tree else "train.py")
    own = with_imports(sorted(folder.glob("*.py")))
    return [entry, *sorted(common.glob("*.py")), *(path for path in own if path.parent != common)]


def with_imports(paths: list[Path]) -> list[Path]:
    """Return recipe files, and those of other recipe folders that they import."""
    found, waiting = [], list(paths)
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.append(path)
        for node in ast.walk(syntax_of(path)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("recipes."):
                place = ROOT.joinpath(*str(node.module).split("."))
                names = [place, *(place / alias.name for alias in node.names)]
                files = (name.with_suffix(".py") for name in names)
                waiting += [file for file in files if file.is_file()]
    return sorted(found)


@cache
def keys_wanted(path: Path) -> set[str]:
    """Return the top-level keys that the code behind a run file reads."""
    return set().union(*(keys_read(code) for code in code_of(path)))
