"""The command line of a run: a YAML file, SpeechBrain's run options, and changes of YAML keys.

Unlike SpeechBrain's parser: no abbreviations, values with ``=`` and ``: `` stay whole, flags take
an optional ``True`` or ``False``, and a key given twice is an error.
"""

from __future__ import annotations

import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from speechbrain.utils.run_opts import HELP_TEXTS, RunOptions

from recipes.common.value_types import fault_of_value

RUN_OPTIONS = sorted({*HELP_TEXTS, "jit_module_keys", "compile_module_keys"})
"""Names of SpeechBrain's run options."""

WIDENED = {
    # What SpeechBrain's annotations forbid without need: parts of a minute, and no clipping.
    "ckpt_interval_minutes": float,
    "max_grad_norm": float | None,
}
NULLS = ("null", "Null", "NULL", "~")
MISSING = object()


@dataclass(frozen=True)
class Override:
    """A change of one YAML key.

    Arguments
    ---------
    key : str
        Dotted path.
    text : str or None
        As typed; None for ``--key`` without a value.
    """

    key: str
    text: str | None

    @property
    def parts(self) -> list[str]:
        """The key's steps."""
        return self.key.split(".")

    @property
    def value(self) -> Any:
        """The text as YAML understands it; MISSING without a text."""
        return MISSING if self.text is None else parse_value(self.text)


@dataclass
class CommandLine:
    """A command line, parsed; faults are collected, not raised."""

    path: str | None = None
    run_options: dict[str, Any] = field(default_factory=dict)
    overrides: dict[str, Override] = field(default_factory=dict)
    wants_help: bool = False
    is_dry_run: bool = False
    faults: list[str] = field(default_factory=list)


def parse_value(text: str) -> Any:
    """Return the value of one argument.

    Lists ``[..]``, mappings ``{..}``, tuples ``(..)``, quoted strings and tags ``!..`` are YAML,
    so are numbers, booleans and null. Everything else is the text itself, with all its signs.

    Arguments
    ---------
    text : str
        As the shell gives it.

    Returns
    -------
    Any
        Its value.

    Raises
    ------
    ValueError
        If it begins like YAML and is none.
    """
    begins_as_yaml = text[:1] in ("[", "{", "'", '"', "!") or (text[:1] + text[-1:]) == "()"
    try:
        value = YAML().load(text)
    except YAMLError as error:
        if begins_as_yaml:
            raise ValueError(f"{text!r} is no valid YAML: {error}") from error
        return text
    if begins_as_yaml or (value is None and text.strip() in NULLS):
        return value
    return value if isinstance(value, bool | int | float) else text


def parse(argv: Sequence[str]) -> CommandLine:
    """Parse a command line (without the program's name)."""
    line = CommandLine()
    tokens = list(argv)
    while tokens:
        token = tokens.pop(0)
        if token in ("-h", "--help"):
            line.wants_help = True
        elif token == "--dry_run":
            line.is_dry_run = True
        elif token.startswith("--") and len(token) > 2:
            _take_option(line, token[2:], tokens)
        elif line.path is None and not token.startswith("-"):
            line.path = token
        else:
            line.faults.append(f"argument {token!r}: not expected; expected --key value.")
    return line


def _take_option(line: CommandLine, name: str, tokens: list[str]) -> None:
    text: str | None = None
    if "=" in name:
        name, text = name.split("=", 1)
    elif tokens and not tokens[0].startswith("--") and _takes_value(name, tokens[0]):
        text = tokens.pop(0)
    if name in line.run_options or name in line.overrides:
        line.faults.append(f"--{name}: given twice; expected once.")
    elif name in RUN_OPTIONS:
        _set_run_option(line, name, text, tokens)
    else:
        line.overrides[name] = Override(name, text)


def _takes_value(name: str, following: str) -> bool:
    # `--debug train.yaml`: a flag's value can only be a boolean.
    is_flag = name in RUN_OPTIONS and _option_type(name) is bool
    return not is_flag or following.lower() in ("true", "false")


def _set_run_option(line: CommandLine, name: str, text: str | None, tokens: list[str]) -> None:
    kind = _option_type(name)
    if name.endswith("_module_keys") and text is not None:
        texts = [text]
        while tokens and not tokens[0].startswith("--"):
            texts.append(tokens.pop(0))
        line.run_options[name] = texts
        return
    if text is None and kind is not bool:
        line.faults.append(f"--{name}: has no value; expected one.")
        return
    try:
        value = True if text is None else parse_value(text)
    except ValueError as error:
        line.faults.append(f"--{name}: {error}")
        return
    if text is not None and kind in (str, str | None) and value is not None:
        value = text
    fault = run_option_fault(name, value)
    if fault:
        line.faults.append(f"--{name}: {fault}")
    else:
        line.run_options[name] = value


def run_option_fault(name: str, value: Any) -> str | None:
    """Return why ``value`` is none for a run option; None if it is one."""
    return fault_of_value(value, _option_type(name))


def _option_type(name: str) -> Any:
    return WIDENED.get(name, typing.get_type_hints(RunOptions)[name])


def colliding_options(key: str) -> list[str]:
    """Return the run options that a YAML key would abbreviate for SpeechBrain's own parser.

    ``--log x`` would set ``log_config`` there, and leave the YAML key ``log`` as it was.
    """
    return [name for name in RUN_OPTIONS if name.startswith(key) and name != key]
