"""Does a plain value fit an annotation? For options and YAML arguments, not for objects."""

from __future__ import annotations

import types
import typing
from typing import Any

PLAIN = (bool, int, float, str)


def fault_of_value(value: Any, annotation: Any) -> str | None:
    """Return ``is ...; expected ...`` if a value does not fit, None if it does.

    Arguments
    ---------
    value : Any
        Of a YAML or command line. Objects that are no plain value always fit.
    annotation : Any
        bool, int, float (an int fits too), str, None, Literal, unions of these. Other
        annotations are not checked.

    Returns
    -------
    str or None
        The fault.
    """
    if value is not None and not isinstance(value, PLAIN):
        return None
    return None if _fits(value, annotation) else f"is {value!r}; expected {_named(annotation)}."


def _fits(value: Any, annotation: Any) -> bool:
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, option) for option in typing.get_args(annotation))
    if origin is typing.Literal:
        options = typing.get_args(annotation)
        return any(value == o and isinstance(value, bool) == isinstance(o, bool) for o in options)
    if annotation is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if annotation is None or annotation is type(None):
        return value is None
    return isinstance(value, annotation) if annotation in (bool, str) else True


def _named(annotation: Any) -> str:
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_named(option) for option in typing.get_args(annotation))
    if origin is typing.Literal:
        return "one of " + ", ".join(repr(option) for option in typing.get_args(annotation))
    names = {bool: "True or False", type(None): "null", int: "an int", float: "a number"}
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))
