"""What README, docs and run files tell to type exists, and their links lead somewhere."""

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.consistency import run_files as files
from tests.consistency.commands import commands_in_blocks, commands_in_markdown, fault_of

SKIPPED = {"work", "runs", "build"}
TEXTS = {".md", ".py", ".yaml", ".yml", ".toml", ".txt", ".sh"}
HOME = re.compile(r"/(?:home|Users)/\w|/roo[t]/|(?<![\w.])~/\w")


def project_files() -> list[Path]:
    paths = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file())
    kept = [path for path in paths if not path.parts[0].startswith(".") or path.parts[0] == ".ci"]
    return sorted(ROOT / path for path in kept if path.parts[0] not in SKIPPED)


MARKDOWN = [path for path in project_files() if path.suffix == ".md"]


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_readme_tells_commands():
    assert ROOT / "README.md" in MARKDOWN
    commands = list(commands_in_markdown(read(ROOT / "README.md")))
    assert ["make", "train"] in commands
    assert ["make", "test"] in commands
    assert len([words for words in commands if words[0] == "python"]) >= 5


# A report tells what was run at its commit; the program may be gone.
PRESENT = [path for path in MARKDOWN if path.parent.name != "results"]


@pytest.mark.parametrize("path", PRESENT, ids=files.name_of)
def test_markdown_commands_exist(path):
    commands = commands_in_markdown(read(path))
    faults = {" ".join(words): fault for words in commands if (fault := fault_of(words))}
    assert not faults


@pytest.mark.parametrize("path", MARKDOWN, ids=files.name_of)
def test_markdown_links_resolve(path):
    text = re.sub(r"^```.*?^```$", "", read(path), flags=re.MULTILINE | re.DOTALL)
    missing = [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if not leads(path, target)]
    assert not missing


def leads(path: Path, target: str) -> bool:
    """Say whether a link leads to a file of the project, and to a heading in it."""
    if re.match(r"[a-z]+:", target):
        return True
    name, _, anchor = target.partition("#")
    file = path.parent / name if name else path
    if not file.exists():
        return False
    return not anchor or anchor in {anchor_of(line) for line in headings(file)}


def headings(file: Path) -> list[str]:
    return re.findall(r"^#+ (.*)$", read(file), re.MULTILINE)


def anchor_of(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-")


def test_recipes_readme_lists_every_recipe():
    text = read(ROOT / "recipes" / "README.md")
    folders = [path.parent for path in (ROOT / "recipes").glob("*/*/*/brain.py")]
    assert folders
    for folder in folders:
        name = folder.relative_to(ROOT / "recipes").as_posix()
        assert f"{name}/README.md" in text
        assert (folder / "README.md").is_file()


@pytest.mark.parametrize("path", files.run_files(), ids=files.name_of)
def test_run_file_tells_its_command(path):
    head = read(path).split("\n\n")[0]
    lines = "\n".join(line for line in head.splitlines() if line.startswith("#"))
    commands = list(commands_in_blocks(lines))
    assert any(files.name_of(path) in words for words in commands)
    assert {" ".join(words): fault_of(words) for words in commands if fault_of(words)} == {}


@pytest.mark.parametrize("path", sorted(ROOT.glob("*.py")), ids=files.name_of)
def test_entry_file_tells_commands_that_exist(path):
    head = read(path).split('"""')[1]
    commands = list(commands_in_blocks(head))
    assert any(path.name in words for words in commands)
    assert {" ".join(words): fault_of(words) for words in commands if fault_of(words)} == {}


def test_no_file_names_a_home_folder():
    texts = [path for path in project_files() if path.suffix in TEXTS or path.name == "Makefile"]
    found = {files.name_of(path): HOME.findall(read(path)) for path in texts}
    assert not {name: names for name, names in found.items() if names}


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ("python nowhere.py", "no file nowhere.py"),
        ("python train.py hparams/nowhere.yaml", "no file hparams/nowhere.yaml"),
        ("python train.py hparams/train.yaml --num_epoch 3", "did you mean num_epochs?"),
        ("torchrun --nproc_per_node=2 train.py hparams/train.yaml --lr fast", "lr"),
        ("python -m data_prepare.nowhere", "no module"),
        ("python -m data_prepare.librispeech in out --nowhere 1", "has no --nowhere"),
        ("python -m pip install -r nowhere.txt", "no file nowhere.txt"),
        ("make nowhere", "no target nowhere"),
        (".venv/bin/python train.py hparams/train.yaml --seed 3  # a remark", None),
        ("python -m data_prepare.librispeech in out --num_jobs 8", None),
        ("make train PYTHON=python3.12", None),
    ],
)
def test_a_wrong_command_is_found(command, fault):
    (words,) = commands_in_blocks(f"    {command}\nsome prose, isn't it\n")
    found = fault_of(words)
    assert found is None if fault is None else fault in str(found)
