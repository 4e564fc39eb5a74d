"""Make a command of a `prepare_*` function: its options become flags, its words the help."""

import argparse
import inspect
import logging
import re
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any, Literal

_FIELD = re.compile(r"^\*{0,2}(\w+(?:, \w+)*) : .*$")

_NONE = "none"


def run_command(function: Callable[..., Any], argv: Sequence[str]) -> int:
    """Parse arguments and call a function with them.

    Parameters without a default are positional; each other one is a flag of its name: true and
    false as `--name` and `--no-name`, lists as words, mappings as `key=value` words.

    Arguments
    ---------
    function : Callable[..., Any]
        With type hints, and help for its parameters in the docstring's section "Arguments" or,
        see `data_prepare.options.takes_options`, in that of its options' class.
    argv : Sequence[str]
        The command's arguments.

    Returns
    -------
    int
        Exit code: 0, or 2 if the input was wrong.
    """
    parser = make_parser(function)
    values = vars(parser.parse_args(argv))
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        function(**values)
    except (ValueError, OSError, RuntimeError) as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    return 0


def make_parser(function: Callable[..., Any]) -> argparse.ArgumentParser:
    """Return the parser of a function's command."""
    text = inspect.getdoc(function) or ""
    parser = argparse.ArgumentParser(
        prog=f"python -m {function.__module__}",
        description=text.split("\n\nArguments\n")[0],
        epilog=_epilog(function),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    helps = _argument_helps(function)
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        _add_argument(parser, parameter, helps.get(parameter.name, ""))
    return parser


def _epilog(function: Callable[..., Any]) -> str | None:
    """Return the example that the options' class has for its commands."""
    example: str | None = getattr(getattr(function, "options_kind", None), "example", None)
    return example and example.format(command=f"python -m {function.__module__}")


def _add_argument(
    parser: argparse.ArgumentParser, parameter: inspect.Parameter, help_text: str
) -> None:
    if parameter.default is parameter.empty:
        parser.add_argument(parameter.name, type=_plain_type(parameter.annotation), help=help_text)
        return
    default = parameter.default
    shown = " ".join(map(repr, default)) if isinstance(default, tuple) else default
    settings: dict[str, Any] = {
        "default": default,
        "help": f"{help_text} (default: {_NONE if shown in (None, '', {}) else shown})".replace(
            "%", "%%"
        ),
    }
    hint = _without_none(parameter.annotation)
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if hint is bool:
        settings["action"] = argparse.BooleanOptionalAction
    elif origin is Literal:
        settings["choices"] = parts
    elif origin is tuple:
        settings |= {"nargs": "*", "type": _plain_type(parts[0])}
    elif origin is dict:
        settings |= {"nargs": "*", "action": _Mapping, "metavar": "KEY=VALUE"}
        settings["type"] = _pair_type(_plain_type(parts[1]))
    else:
        settings["type"] = _plain_type(hint)
    parser.add_argument(f"--{parameter.name}", **settings)


class _Mapping(argparse.Action):
    """Collects key=value words."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Store the mapping."""
        setattr(namespace, self.dest, dict(values))


def _pair_type(convert: Callable[[str], Any]) -> Callable[[str], tuple[str, Any]]:
    def pair(word: str) -> tuple[str, Any]:
        key, mark, value = word.partition("=")
        if not mark:
            raise argparse.ArgumentTypeError(f"{word!r} is not KEY=VALUE")
        return key, convert(value)

    return pair


def _plain_type(hint: Any) -> Callable[[str], Any]:
    hint = _without_none(hint)
    return hint if hint in (int, float) else str


def _without_none(hint: Any) -> Any:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return next(part for part in typing.get_args(hint) if part is not type(None))
    return hint


def _argument_helps(function: Callable[..., Any]) -> dict[str, str]:
    """Collect the help of all arguments from the docstrings of the function and its options."""
    kind = getattr(function, "options_kind", None)
    documented = [*reversed(kind.__mro__[:-1]), function] if kind else [function]
    helps: dict[str, str] = {}
    for item in documented:
        helps |= _parse_arguments(inspect.getdoc(item) or "")
    return helps


def _parse_arguments(docstring: str) -> dict[str, str]:
    _, _, section = docstring.partition("Arguments\n---------\n")
    section = section.split("\n\nReturns\n")[0]
    helps: dict[str, str] = {}
    names: list[str] = []
    for line in section.splitlines():
        if match := _FIELD.match(line):
            names = match[1].split(", ")
        else:
            helps |= {name: f"{helps.get(name, '')} {line.strip()}".strip() for name in names}
    return helps
