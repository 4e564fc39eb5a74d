"""Check values of options, as YAML and Python give them, against type hints."""

import types
import typing
from pathlib import Path
from typing import Any, Literal


def convert(value: Any, hint: Any) -> Any:
    """Return a value in the form that a type hint asks for.

    Arguments
    ---------
    value : Any
        As given.
    hint : Any
        One of bool, int, float, str, Path, Literal, tuple[X, ...], dict[str, X], X | None.

    Returns
    -------
    object
        The value, with lists as tuples and path names as paths.

    Raises
    ------
    TypeError
        If it does not fit; the message is what would.
    """
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in parts:
            return None
        return convert(value, next(part for part in parts if part is not type(None)))
    if origin is Literal:
        if value not in parts:
            raise TypeError(f"one of {', '.join(map(repr, parts))}")
        return value
    if value is None and origin in (tuple, dict):
        return origin()
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise TypeError("a list")
        return tuple(convert(item, parts[0]) for item in value)
    if origin is dict:
        if not isinstance(value, dict):
            raise TypeError("a mapping")
        return {str(name): convert(item, parts[1]) for name, item in value.items()}
    return _convert_plain(value, hint)


def _convert_plain(value: Any, hint: type) -> Any:
    accepted = {float: (int, float), Path: (str, Path)}.get(hint, (hint,))
    if not isinstance(value, accepted) or (isinstance(value, bool) and hint is not bool):
        raise TypeError(f"a {hint.__name__}")
    return hint(value)
