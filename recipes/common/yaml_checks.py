"""What is wrong with a YAML, all at once: before references are resolved, and after."""

from __future__ import annotations

import inspect
import pydoc
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ruamel.yaml.scalarstring import ScalarString

from recipes.common.command_line import RUN_OPTIONS, colliding_options, run_option_fault
from recipes.common.options import BrainOptions
from recipes.common.value_types import fault_of_value
from recipes.common.yaml_tree import (
    BASE_KEY,
    DATA_KEY,
    PLACEHOLDER,
    CommentedMap,
    CommentedSeq,
    Source,
    is_plain,
    tag_of,
    walk,
)

DECEPTIVE = {
    **dict.fromkeys(("yes", "on"), "True"),
    **dict.fromkeys(("no", "off"), "False"),
    "none": "null",
}
"""Words that YAML 1.2 reads as strings, all of them true."""


def source_faults(view: Source) -> Iterator[str]:
    """Yield what is wrong with the keys and values as written.

    Arguments
    ---------
    view : Source
        With included files in place.

    Yields
    ------
    str
        Placeholders left, words that only look like booleans or null, keys that abbreviate a run
        option, run-file keys in a wrong place.
    """
    for key in view.tree:
        options = colliding_options(str(key))
        if options:
            yield (
                f"{key}: abbreviates SpeechBrain's option {options[0]}; expected another name; "
                "its own parser would take one for the other."
            )
    for path, node in walk(view.tree):
        name = path.rpartition(".")[2]
        if tag_of(node) == PLACEHOLDER:
            yield f"{path}: is a !PLACEHOLDER; expected a value; add --{path} <value>."
        elif isinstance(node, str) and not isinstance(node, ScalarString):
            meant = DECEPTIVE.get(node.lower())
            if meant:
                yield f"{path}: is the string {node!r}; write {meant}, or quote it if it is meant."
        if name in (BASE_KEY, DATA_KEY):
            yield f"{path}: stands in an included or nested place; expected in run files only."


def placeholders(node: Any, parts: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the keys that lead to each placeholder; those inside lists are left out."""
    for key, value in node.items() if isinstance(node, Mapping) else ():
        if tag_of(value) == PLACEHOLDER:
            yield (*parts, str(key))
        yield from placeholders(value, (*parts, str(key)))


def resolved_faults(tree: CommentedMap) -> Iterator[str]:
    """Yield what is wrong with options, dotted paths and arguments, references filled in.

    Arguments
    ---------
    tree : CommentedMap
        Resolved, not built yet.

    Yields
    ------
    str
        Wrong run options and Brain options, dotted paths that do not import, arguments that the
        target does not take, lacks, or annotates with another type.
    """
    for name in RUN_OPTIONS:
        if name in tree and is_plain(tree[name]):
            fault = run_option_fault(name, tree[name])
            if fault:
                yield f"{name}: {fault}"
    plain = {k: v for k, v in tree.items() if is_plain(v) and not isinstance(v, Mapping | list)}
    for fault in BrainOptions.plain_faults(plain):
        yield fault
    seen: set[int] = set()
    for path, node in walk(tree):
        if id(node) not in seen:
            seen.add(id(node))
            yield from (f"{path}: {fault}" for fault in _tag_faults(node))


def _tag_faults(node: Any) -> Iterator[str]:
    kind, colon, dotted = tag_of(node).partition(":")
    checks: dict[str, Callable[[Any], bool]] = {
        "!new": inspect.isclass,
        "!name": bool,
        "!apply": inspect.isroutine,
        "!module": inspect.ismodule,
    }
    if not colon or kind not in checks:
        return
    try:
        target = pydoc.locate(dotted)
    except pydoc.ErrorDuringImport as error:
        yield f"{kind}:{dotted} cannot be imported: {error.value!r}."
        return
    if target is None:
        yield f"{kind}:{dotted} does not exist; expected a dotted path that imports."
    elif not checks[kind](target):
        wanted = {"!new": "a class", "!apply": "a function", "!module": "a module"}[kind]
        yield f"{kind}:{dotted} is {target!r:.60}; expected {wanted}."
    elif kind != "!module":
        yield from _argument_faults(target, node, is_partial=kind == "!name", dotted=dotted)


def _argument_faults(target: Any, node: Any, *, is_partial: bool, dotted: str) -> Iterator[str]:
    args = list(node) if isinstance(node, CommentedSeq) else []
    kwargs = dict(node) if isinstance(node, CommentedMap) else {}
    try:
        signature = inspect.signature(target)
    except (ValueError, TypeError):  # a builtin without a signature, or no callable
        return
    faults = list(_unknown_arguments(signature, kwargs, dotted))
    if faults:
        yield from faults
        return
    try:
        bind = signature.bind_partial if is_partial else signature.bind
        bound = bind(*args, **kwargs)
    except TypeError as error:
        yield f"{dotted}: {error}; expected {_described(signature)}."
        return
    yield from _type_faults(target, bound.arguments)


def _unknown_arguments(
    signature: inspect.Signature, kwargs: Mapping[str, Any], dotted: str
) -> Iterator[str]:
    kinds = {parameter.kind for parameter in signature.parameters.values()}
    if inspect.Parameter.VAR_KEYWORD in kinds:
        return
    for name in kwargs:
        if name not in signature.parameters:
            yield f"{dotted} takes no {name!r}; expected {_described(signature)}."


def _described(signature: inspect.Signature) -> str:
    return "(" + ", ".join(signature.parameters) + ")"


def _type_faults(target: Any, arguments: Mapping[str, Any]) -> Iterator[str]:
    owner = target.__init__ if inspect.isclass(target) else target
    try:
        hints = typing.get_type_hints(owner)
    except (NameError, TypeError, AttributeError):  # names that exist for type checkers only
        return
    for name, value in arguments.items():
        if name in hints and not _is_tuple_text(value) and is_plain(value):
            fault = fault_of_value(value, hints[name])
            if fault:
                yield f"{name} {fault}"


def _is_tuple_text(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("(") and value.endswith(")")
