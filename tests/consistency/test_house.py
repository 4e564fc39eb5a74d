"""Pins, budgets, ignored files, and the gate."""

import ast
import os
import re
import subprocess
import sys
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.consistency.run_files import syntax_of

REQUIREMENTS = sorted(ROOT.glob("requirements*.txt"))
PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[\w,]+\])?==(\d[\w.]*)")
RUN, EXTRAS, DEV = "requirements.txt", "requirements-extras.txt", "requirements-dev.txt"
INCLUDED = {RUN: [], EXTRAS: [], DEV: [f"-r {RUN}", f"-r {EXTRAS}"]}
ROOMS = {"recipes", "data_prepare", "hogwild", "comparing", "benchmarks", "tests"}
MAX_LINES = {
    "train.py": 150,
    "train_hogwild.py": 125,
    "tokenizer_train.py": 80,
    "compare_training.py": 100,
    "report.py": 80,
    "decode.py": 80,
}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def lines_of(path: Path) -> list[str]:
    lines = (line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def pinned(path: Path) -> list[str]:
    found = [PIN.fullmatch(line) for line in lines_of(path)]
    return [normal(match[1]) for match in found if match]


def test_requirements_are_pinned_exactly():
    assert {path.name for path in REQUIREMENTS} == INCLUDED.keys()
    for path in REQUIREMENTS:
        loose = [line for line in lines_of(path) if not PIN.fullmatch(line)]
        assert loose == INCLUDED[path.name], path.name


def test_nothing_is_pinned_twice():
    names = [name for path in REQUIREMENTS for name in pinned(path)]
    assert len(names) == len(set(names))


def test_tools_are_pinned_nowhere_else():
    names = {name for path in REQUIREMENTS for name in pinned(path)}
    others = [ROOT / ".pre-commit-config.yaml", ROOT / "Makefile", ROOT / "pyproject.toml"]
    others += [*(ROOT / ".github").rglob("*.yml"), ROOT / ".ci" / "run", ROOT / "tests" / "lint.sh"]
    for path in others:
        text = path.read_text(encoding="utf-8")
        assert not {normal(match[1]) for match in PIN.finditer(text)} & names, path.name
        assert not re.search(r"^\s*rev:", text, re.MULTILINE), path.name


def imported(path: Path, *, at_start: bool = False) -> set[str]:
    """Return the packages that a file imports, or only those that it imports when it starts."""
    found = set()
    tree = syntax_of(path)
    for node in tree.body if at_start else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found - ROOMS - set(sys.stdlib_module_names) - {file.stem for file in ROOT.glob("*.py")}


def needed_by(names: set[str]) -> set[str]:
    """Return packages with what they need themselves, which their exact pins bring along."""
    found = set(names)
    for name in names:
        found |= {normal(re.match(r"[\w.-]+", line)[0]) for line in requires(name) or []}
    return found


def modules_of(folders: list[str], *, at_start: bool = False) -> set[str]:
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    files += ROOT.glob("*.py") if "recipes" in folders else []
    return set().union(*(imported(path, at_start=at_start) for path in files))


def lacking(modules: set[str], requirements: list[str]) -> set[str]:
    allowed = needed_by({name for file in requirements for name in pinned(ROOT / file)})
    owners = packages_distributions()
    return {m for m in modules if not {normal(n) for n in owners.get(m, [])} & allowed}


@pytest.mark.parametrize(
    ("requirements", "folders"),
    [
        ([RUN, EXTRAS], ["data_prepare", "recipes", "hogwild", "comparing"]),
        ([RUN, EXTRAS, DEV], ["tests", "benchmarks"]),
    ],
)
def test_what_is_imported_is_required(requirements, folders):
    modules = modules_of(folders)
    assert modules
    assert not lacking(modules, requirements)


def test_the_default_needs_no_extra():
    assert not lacking(
        modules_of(["data_prepare", "recipes", "hogwild", "comparing"], at_start=True), [RUN]
    )


@pytest.mark.parametrize("name", MAX_LINES)
def test_entry_file_stays_small(name):
    path = ROOT / name
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES[name]


def test_gitignore_swallows_no_source():
    for line in lines_of(ROOT / ".gitignore"):
        # A slash before the last character ties a pattern to this folder.
        is_tied = "/" in line.removesuffix("/")
        assert is_tied or line in ("__pycache__/", "*.egg-info/"), line


def test_gate_lints_and_tests():
    gate = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    for word in ("set -e", " lint", " test"):
        assert word in gate
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert ".ci/run" in workflow


def test_git_holds_no_binaries_and_nothing_large():
    script = [sys.executable, "tests/large_files.py"]
    if not (ROOT / ".git").exists():
        pytest.skip("no git repository: an archive of the sources holds no history to look at")
    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
