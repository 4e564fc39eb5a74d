"""Command lines in texts, and what is wrong with them."""

import io
import re
import runpy
import shlex
import sys
import warnings
from collections.abc import Iterator
from contextlib import redirect_stdout
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from recipes.common.hparams import load_run
from tests.conftest import ROOT

PROGRAMS = ("python", "python3", "torchrun", "make")
DRIVEN_BY_YAML = (
    *("train.py", "tokenizer_train.py", "train_hogwild.py", "compare_training.py", "decode.py"),
)
OWN_FLAGS = ("--list", "--report_only")
"""Of the programs themselves: the loader of the YAML does not know them."""
MARKS = r"^[\s#>$|]*(?:[*-]\s+)?"
"""What may stand before a command in a comment, a quotation, a table or a list."""


def commands_in_blocks(text: str) -> Iterator[list[str]]:
    """Yield the commands in a text's lines; a backslash at the end of a line continues it."""
    lines = re.sub(r"\\\n" + MARKS, " ", text, flags=re.MULTILINE).splitlines()
    for line in lines:
        words = words_of(re.sub(MARKS, "", line))
        if words:
            yield words


def commands_in_markdown(text: str) -> Iterator[list[str]]:
    """Yield the commands in a text's fenced blocks and code spans."""
    for part in re.split(r"^```.*$", text, flags=re.MULTILINE)[1::2]:
        yield from commands_in_blocks(part)
    outside = "".join(re.split(r"^```.*$", text, flags=re.MULTILINE)[0::2])
    for span in re.findall(r"`([^`]+)`", outside):
        words = words_of(" ".join(span.split()))
        if words and len(words) > 1:
            yield words


def words_of(line: str) -> list[str]:
    """Return a command's words, program first; none if the line is no command of ours."""
    line = re.split(r"\s{3,}", line)[0]  # a remark beside the command
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # prose with an apostrophe
        return []
    while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        words.pop(0)
    if not words or Path(words[0]).name not in PROGRAMS:
        return []
    return [Path(words[0]).name, *words[1:]]


def fault_of(words: list[str]) -> str | None:
    """Return what is wrong with a command, None if nothing is."""
    return _fault_of(*words)


@cache
def _fault_of(program: str, *rest: str) -> str | None:
    arguments = list(rest)
    if "--" in arguments:  # what follows goes to another command
        arguments = arguments[: arguments.index("--")]
    if program == "make":
        return _fault_of_make(arguments)
    if program == "torchrun":
        arguments = _without_flags(arguments)
    if not arguments:
        return None
    if arguments[0] == "-m":
        return _fault_of_module(arguments[1], arguments[2:])
    if arguments[0].startswith("-"):
        return None
    return _fault_of_script(arguments[0], arguments[1:])


def _without_flags(arguments: list[str]) -> list[str]:
    while arguments and arguments[0].startswith("-"):
        assert "=" in arguments[0] or arguments[0] == "--standalone", arguments[0]
        arguments = arguments[1:]
    return arguments


@cache
def make_targets() -> set[str]:
    """Return the targets of the Makefile that have names."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z_]+):", text, re.MULTILINE))


def _fault_of_make(arguments: list[str]) -> str | None:
    unknown = {word for word in arguments if "=" not in word} - make_targets()
    return f"no target {', '.join(sorted(unknown))} in Makefile" if unknown else None


def _fault_of_script(script: str, arguments: list[str]) -> str | None:
    if not (ROOT / script).is_file():
        return f"no file {script}"
    if script in DRIVEN_BY_YAML:
        return _fault_of_run(arguments)
    return _fault_of_flags(arguments, (ROOT / script).read_text(encoding="utf-8"), script)


def _fault_of_run(arguments: list[str]) -> str | None:
    # The loader checks it without making anything: file, keys, types.
    if not arguments or arguments[0].startswith("-"):
        return None
    if not (ROOT / arguments[0]).is_file():
        return f"no file {arguments[0]}"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        try:
            load_run([*(word for word in arguments if word not in OWN_FLAGS), "--dry_run"])
        except SystemExit:
            return None
        except ValueError as error:
            return str(error)
    return "is no dry run"


def _fault_of_module(module: str, arguments: list[str]) -> str | None:
    files = [word for flag, word in zip(arguments, arguments[1:], strict=False) if flag == "-r"]
    missing = [name for name in files if not (ROOT / name).is_file()]
    if missing:
        return f"no file {missing[0]}"
    if find_spec(module) is None:
        return f"no module {module}"
    if not ROOT.joinpath(*module.split(".")).with_suffix(".py").is_file():
        return None  # of somebody else
    return _fault_of_flags(arguments, help_of(module), module)


@cache
def help_of(module: str) -> str:
    """Return what a module says when asked for help; in this process, as imports take long."""
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # it may be imported already
        patch.setattr(sys, "argv", [module, "--help"])
        with pytest.raises(SystemExit) as ended:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    assert not ended.value.code, module
    return said.getvalue()


def _fault_of_flags(arguments: list[str], text: str, name: str) -> str | None:
    for word in arguments:
        flag = word.split("=")[0]
        if flag.startswith("--") and not re.search(rf"{flag}(?!\w)", text) and flag != "--help":
            return f"{name} has no {flag}"
    return None
